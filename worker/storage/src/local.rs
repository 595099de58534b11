//! A folder of the local file system as storage.
//!
//! `PutNew` writes a hidden file, syncs it and gives it its name by link(2), which fails if the name is taken: at most one
//! of any number of processes wins. `Put` renames instead. Both sync the folder before they answer.
//!
//! What is appended lies in a hidden file beside its path, `.<name>.<random>.inprogress`, until it is sealed or published by
//! renaming. The random number is the process's own: two that stage for one path do not write into one file.
//! Listings leave out the hidden files that are made here.
//!
//! A hidden folder goes with the last object that is removed from it; folders that people see stay. So one may be gone between
//! two steps of a request, on another thread or of another process: who writes makes it again, and listings pass it by.
//!
//! Requests are dealt to a few threads by their path, so that requests on one path keep their order.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use streamfleet_env::{Completion, Staged, Storage, StorageError, StorageErrorKind, StorageReply, StorageRequest};
use streamfleet_types::hash::hash_bytes;

const THREADS: usize = 4;

/// How often a folder is made that is always gone before anything is in it.
const MOST_TRIES: u32 = 100;

/// Ends the name of a hidden file with what is staged.
const STAGED: &str = ".inprogress";

/// Ends the name of a hidden file that is on its way to its own name.
const TEMPORARY: &str = ".tmp";

/// A folder as storage. Cloned paths may be absolute: they are then used as they are.
pub struct LocalFolder {
    queues: Vec<Sender<(StorageRequest, Completion)>>,
}

impl LocalFolder {
    /// Storage below `root`, which is created when the first object is written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let own = format!("{:016x}", random_u64());
        let queues = (0..THREADS)
            .map(|_| {
                let (sender, receiver) = channel();
                let (root, own) = (root.clone(), own.clone());
                std::thread::Builder::new()
                    .name("storage".into())
                    .spawn(move || serve(&root, &own, &receiver))
                    .expect("the system can start a thread");
                sender
            })
            .collect();
        Self { queues }
    }
}

impl Storage for LocalFolder {
    fn submit(&self, request: StorageRequest, done: Completion) {
        let queue = &self.queues[(hash_bytes(request.path().as_bytes()) % THREADS as u64) as usize];
        queue.send((request, done)).expect("storage threads live as long as their folder");
    }
}

fn serve(root: &Path, own: &str, requests: &Receiver<(StorageRequest, Completion)>) {
    let mut staged = HashMap::new();
    while let Ok((request, done)) = requests.recv() {
        let result = perform(root, own, &mut staged, &request);
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

fn perform(
    root: &Path,
    own: &str,
    staged: &mut HashMap<PathBuf, File>,
    request: &StorageRequest,
) -> io::Result<StorageReply> {
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
        // What is empty is whole at once, and a crash leaves no hidden file.
        StorageRequest::Put { path, bytes } if bytes.is_empty() => {
            let path = root.join(path);
            in_folder(&path, |path| File::create(path))?.sync_all()?;
            sync_folder_of(&path)?;
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
                let file = in_folder(&staged_path(&path, own), |staged| File::create(staged))?;
                staged.insert(path.clone(), file);
            }
            let file = staged.get_mut(&path).expect("opened above");
            file.write_all(bytes)?;
        }
        StorageRequest::Seal { path } => {
            let path = root.join(path);
            sync_staged(staged, &path)?;
            fs::rename(staged_path(&path, own), &path)?;
            sync_folder_of(&path)?;
        }
        StorageRequest::Prepare { path } => {
            let path = root.join(path);
            sync_staged(staged, &path)?;
            sync_folder_of(&path)?;
            return Ok(StorageReply::Prepared(staged_name(&path, own)));
        }
        StorageRequest::Publish { path, token } => {
            let path = root.join(path);
            match fs::rename(path.with_file_name(token), &path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && path.exists() => {}
                other => other?,
            }
            sync_folder_of(&path)?;
        }
        StorageRequest::ListStaged { prefix } => return list_staged(root, prefix).map(StorageReply::Staged),
        StorageRequest::Discard { path, token } => {
            let path = root.join(path);
            if *token == staged_name(&path, own) {
                staged.remove(&path);
            }
            remove_file(&path.with_file_name(token))?;
            remove_hidden_folder_of(&path)?;
        }
        StorageRequest::Unstage { path } => unstage(staged, &root.join(path), own)?,
        StorageRequest::Get { path, range } => return get(&root.join(path), *range).map(StorageReply::Bytes),
        StorageRequest::List { prefix } => return list(root, prefix).map(StorageReply::Paths),
        StorageRequest::Delete { path } => {
            let path = root.join(path);
            unstage(staged, &path, own)?;
            remove_file(&path)?;
            remove_hidden_folder_of(&path)?;
        }
    }
    Ok(StorageReply::Done)
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes the folder of what was removed, if it is hidden and nothing is left in it.
fn remove_hidden_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|f| f.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    match folder.map_or(Ok(()), fs::remove_dir) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(()),
        other => other,
    }
}

/// Makes a file and its folder; once more if the folder goes with its last object just then.
fn in_folder(path: &Path, make: impl Fn(&Path) -> io::Result<File>) -> io::Result<File> {
    let mut tries = 0;
    loop {
        tries += 1;
        match create_folder_of(path).and_then(|()| make(path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && tries < MOST_TRIES => {}
            other => return other,
        }
    }
}

/// The name of the hidden file that holds what the process of this number has staged for a path.
fn staged_name(path: &Path, own: &str) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    format!(".{name}.{own}{STAGED}")
}

fn staged_path(path: &Path, own: &str) -> PathBuf {
    path.with_file_name(staged_name(path, own))
}

fn unstage(staged: &mut HashMap<PathBuf, File>, path: &Path, own: &str) -> io::Result<()> {
    staged.remove(path);
    remove_file(&staged_path(path, own))
}

/// Makes what is staged for a path durable. It stays staged if that fails.
fn sync_staged(staged: &mut HashMap<PathBuf, File>, path: &Path) -> io::Result<()> {
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "nothing was appended");
    staged.get(path).ok_or_else(nothing)?.sync_all()?;
    staged.remove(path);
    Ok(())
}

fn write_hidden(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // Random: process ids repeat between containers that share a folder.
    let hidden = path.with_file_name(format!(".{name}.{:016x}{TEMPORARY}", random_u64()));
    let written = in_folder(&hidden, |hidden| File::create_new(hidden)).and_then(|mut file| {
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
    let mut found = list_all(root, prefix)?;
    found.retain(|(path, _)| !is_own(name_of(path)));
    found.sort();
    Ok(found)
}

fn list_staged(root: &Path, prefix: &str) -> io::Result<Vec<Staged>> {
    let staged = |(path, _): (String, u64)| {
        let name = name_of(&path);
        let shown = name.strip_prefix('.')?.strip_suffix(STAGED)?;
        // Earlier versions wrote no number.
        let is_number = |end: &str| end.len() == 16 && end.bytes().all(|b| b.is_ascii_hexdigit());
        let shown = shown.rsplit_once('.').filter(|(_, end)| is_number(end)).map_or(shown, |(shown, _)| shown);
        Some(Staged { path: format!("{}{shown}", &path[..path.len() - name.len()]), token: name.to_owned() })
    };
    let mut found: Vec<Staged> = list_all(root, prefix)?.into_iter().filter_map(staged).collect();
    found.sort();
    Ok(found)
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// True for the name of a hidden file that is made here.
fn is_own(name: &str) -> bool {
    name.starts_with('.') && (name.ends_with(STAGED) || name.ends_with(TEMPORARY))
}

fn list_all(root: &Path, prefix: &str) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    let place = root.join(prefix);
    match fs::metadata(&place) {
        Ok(metadata) if metadata.is_file() => found.push((prefix.to_owned(), metadata.len())),
        Ok(_) => list_folder(&place, prefix.trim_end_matches('/'), &mut found)?,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
        Err(e) => return Err(e),
    }
    Ok(found)
}

fn list_folder(folder: &Path, prefix: &str, found: &mut Vec<(String, u64)>) -> io::Result<()> {
    let is_gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(folder) {
        Err(e) if is_gone(&e) => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = match entry {
            Err(e) if is_gone(&e) => return Ok(()),
            other => other?,
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        // An object may vanish between the listing and this look at it: then it was not there.
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => list_folder(&entry.path(), &path, found)?,
            Ok(metadata) => found.push((path, metadata.len())),
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
