//! Object storage: the local folder, conditional put, the job log.
