//! Storage for those who have nothing else to do.

use std::sync::mpsc::channel;
use streamfleet_env::{Storage, StorageError, StorageReply, StorageRequest};

/// Asks and waits for the answer.
///
/// # Errors
/// The request failed.
pub fn ask(storage: &dyn Storage, request: StorageRequest) -> Result<StorageReply, StorageError> {
    let (sender, receiver) = channel();
    // Whoever waits has not gone.
    storage.submit(request, Box::new(move |answer| drop(sender.send(answer))));
    receiver.recv().expect("every request is answered while its storage lives")
}

/// The content of an object.
///
/// # Errors
/// It is not there, or cannot be read.
pub fn read(storage: &dyn Storage, path: &str) -> Result<Vec<u8>, StorageError> {
    match ask(storage, StorageRequest::Get { path: path.to_owned(), range: None })? {
        StorageReply::Bytes(bytes) => Ok(bytes),
        _ => Ok(Vec::new()),
    }
}

/// The paths of all objects in a folder, sorted.
///
/// # Errors
/// They cannot be listed.
pub fn list(storage: &dyn Storage, folder: &str) -> Result<Vec<String>, StorageError> {
    match ask(storage, StorageRequest::List { prefix: folder.to_owned() })? {
        StorageReply::Paths(paths) => Ok(paths.into_iter().map(|(path, _)| path).collect()),
        _ => Ok(Vec::new()),
    }
}
