//! A folder of the local file system as storage.
//!
//! `PutNew` writes a hidden file, syncs it and gives it its name by link(2), which fails if the name is taken: at most one
//! of any number of processes wins. `Put` renames instead. Both sync the folder before they answer.
//!
//! Requests are dealt to a few threads by their path, so that requests on one path keep their order.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use streamfleet_env::{Completion, Storage, StorageError, StorageErrorKind, StorageReply, StorageRequest};
use streamfleet_types::hash::hash_bytes;

const THREADS: usize = 4;

/// A folder as storage. Cloned paths may be absolute: they are then used as they are.
pub struct LocalFolder {
    queues: Vec<Sender<(StorageRequest, Completion)>>,
}

impl LocalFolder {
    /// Storage below `root`, which is created when the first object is written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let queues = (0..THREADS)
            .map(|_| {
                let (sender, receiver) = channel();
                let root = root.clone();
                std::thread::Builder::new()
                    .name("storage".into())
                    .spawn(move || serve(&root, &receiver))
                    .expect("the system can start a thread");
                sender
            })
            .collect();
        Self { queues }
    }
}

impl Storage for LocalFolder {
    fn submit(&self, request: StorageRequest, done: Completion) {
        // A staged object is published by its second name; its order with the seal matters.
        let path = match &request {
            StorageRequest::Publish { from, .. } => from,
            other => other.path(),
        };
        let queue = &self.queues[(hash_bytes(path.as_bytes()) % THREADS as u64) as usize];
        queue.send((request, done)).expect("storage threads live as long as their folder");
    }
}

fn serve(root: &Path, requests: &Receiver<(StorageRequest, Completion)>) {
    let mut staged = HashMap::new();
    while let Ok((request, done)) = requests.recv() {
        let result = perform(root, &mut staged, &request);
        done(result.map_err(|e| describe(root, &request, &e)));
    }
}

fn describe(root: &Path, request: &StorageRequest, error: &io::Error) -> StorageError {
    let is_create = matches!(request, StorageRequest::PutNew { .. });
    let kind = match error.kind() {
        // link(2) says one of these where a file system has no hard links.
        _ if is_create
            && matches!(error.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP | libc::ENOSYS | libc::EMLINK)) =>
        {
            StorageErrorKind::NotExclusive
        }
        io::ErrorKind::AlreadyExists => StorageErrorKind::AlreadyExists,
        io::ErrorKind::NotFound => StorageErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StorageErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageErrorKind::Full,
        io::ErrorKind::Interrupted | io::ErrorKind::TimedOut => StorageErrorKind::Uncertain,
        _ => StorageErrorKind::Broken,
    };
    let path = root.join(request.path()).display().to_string();
    StorageError { kind, operation: request.name(), path, detail: error.to_string() }
}

fn perform(root: &Path, staged: &mut HashMap<PathBuf, File>, request: &StorageRequest) -> io::Result<StorageReply> {
    match request {
        StorageRequest::PutNew { path, bytes } => {
            let path = root.join(path);
            let hidden = write_hidden(&path, bytes)?;
            let linked = fs::hard_link(&hidden, &path);
            fs::remove_file(&hidden)?;
            // Also when the place is taken: it may be by an earlier try of this writer, whose name was not synced.
            match linked {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                linked => sync_folder_of(&path).and(linked)?,
            }
        }
        StorageRequest::Put { path, bytes } => {
            let path = root.join(path);
            let hidden = write_hidden(&path, bytes)?;
            fs::rename(&hidden, &path)?;
            sync_folder_of(&path)?;
        }
        StorageRequest::Append { path, bytes } => {
            let path = root.join(path);
            if !staged.contains_key(&path) {
                create_folder_of(&path)?;
                let file = OpenOptions::new().create(true).append(true).open(&path)?;
                staged.insert(path.clone(), file);
            }
            let file = staged.get_mut(&path).expect("opened above");
            file.write_all(bytes)?;
        }
        StorageRequest::Seal { path } => {
            let path = root.join(path);
            let file = match staged.remove(&path) {
                Some(file) => file,
                None => OpenOptions::new().append(true).open(&path)?,
            };
            file.sync_all()?;
            sync_folder_of(&path)?;
        }
        StorageRequest::Publish { from, to } => {
            let (from, to) = (root.join(from), root.join(to));
            create_folder_of(&to)?;
            match fs::rename(&from, &to) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && to.exists() => {}
                other => other?,
            }
            sync_folder_of(&to)?;
            sync_folder_of(&from)?;
        }
        StorageRequest::Get { path, range } => return get(&root.join(path), *range).map(StorageReply::Bytes),
        StorageRequest::List { prefix } => return list(root, prefix).map(StorageReply::Paths),
        StorageRequest::Delete { path } => {
            let path = root.join(path);
            staged.remove(&path);
            match fs::remove_file(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(StorageReply::Done)
}

fn write_hidden(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    create_folder_of(path)?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // Random: process ids repeat between containers that share a folder.
    let hidden = path.with_file_name(format!(".{name}.{:016x}.tmp", random_u64()));
    let written = File::create_new(&hidden).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written {
        // Best effort: what matters is the first error.
        let _ = fs::remove_file(&hidden);
        return Err(error);
    }
    Ok(hidden)
}

fn create_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => create_folder(folder),
        _ => Ok(()),
    }
}

/// Creates a folder and those above it, each durable before anything is put into it.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    create_folder_of(folder)?;
    match fs::create_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        other => other?,
    }
    sync_folder_of(folder)
}

/// Every `RandomState` has fresh keys; hashing nothing with them gives a random number.
fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn get(path: &Path, range: Option<(u64, u64)>) -> io::Result<Vec<u8>> {
    let Some((first, length)) = range else { return fs::read(path) };
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(first))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn list(root: &Path, prefix: &str) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    let place = root.join(prefix);
    match fs::metadata(&place) {
        Ok(metadata) if metadata.is_file() => found.push((prefix.to_owned(), metadata.len())),
        Ok(_) => list_folder(&place, prefix.trim_end_matches('/'), &mut found)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    found.sort();
    Ok(found)
}

fn list_folder(folder: &Path, prefix: &str, found: &mut Vec<(String, u64)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        // An object may vanish between the listing and this look at it: then it was not there.
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => list_folder(&entry.path(), &path, found)?,
            Ok(metadata) => found.push((path, metadata.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
