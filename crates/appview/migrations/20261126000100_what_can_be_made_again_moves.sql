-- Upload sessions and the index of accounts live in the scratch file now. Nothing is copied: accounts are listed anew, and clients
-- that were in the middle of an upload begin again.
DROP TABLE upload_part;
DROP TABLE upload_session;
DROP TABLE manifest_blob;
DROP TABLE manifest_child;
DROP TABLE manifest_detail;
DROP TABLE manifest;
DROP TABLE tag;
DROP TABLE account;
