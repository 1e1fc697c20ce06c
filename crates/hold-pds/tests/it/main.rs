//! The repository from outside: files, crashes, other people's vectors.
