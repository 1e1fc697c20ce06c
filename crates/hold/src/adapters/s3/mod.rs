//! A bucket, reached by the S3 protocol.
