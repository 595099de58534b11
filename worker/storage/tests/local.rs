//! The local folder does what every storage must, and keeps no hidden folder that is empty.

use std::sync::Arc;
use streamfleet_env::{Storage, StorageReply, StorageRequest};
use streamfleet_storage::conformance::{Place, check};
use streamfleet_storage::{LocalFolder, ask};

#[test]
fn the_local_folder_conforms() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let open = || Arc::new(LocalFolder::new(folder.path())) as Arc<dyn Storage>;
    check(&Place { open: &open, prefix: String::new() });
}

fn done(storage: &LocalFolder, request: StorageRequest) {
    let what = format!("{request:?}");
    assert_eq!(ask(storage, request), Ok(StorageReply::Done), "{what}");
}

fn append(storage: &LocalFolder, path: &str) {
    done(storage, StorageRequest::Append { path: path.to_owned(), bytes: b"rows".to_vec() });
}

fn seal(storage: &LocalFolder, path: &str) {
    append(storage, path);
    done(storage, StorageRequest::Seal { path: path.to_owned() });
}

fn delete(storage: &LocalFolder, path: &str) {
    done(storage, StorageRequest::Delete { path: path.to_owned() });
}

#[test]
fn a_hidden_folder_goes_with_the_last_object_in_it() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let storage = LocalFolder::new(folder.path());
    let is_there = |path: &str| folder.path().join(path).is_dir();
    for path in ["t/.small/a", "t/.small/b", "t/seen/a"] {
        seal(&storage, path);
    }
    append(&storage, "t/.small/c");
    delete(&storage, "t/.small/a");
    delete(&storage, "t/.small/b");
    assert!(is_there("t/.small"), "something is staged in it");
    delete(&storage, "t/.small/c");
    assert!(!is_there("t/.small") && is_there("t"));
    delete(&storage, "t/.small/c");
    delete(&storage, "t/seen/a");
    assert!(is_there("t/seen"), "it is not hidden");
    // What another process left staged is thrown away by its token.
    append(&LocalFolder::new(folder.path()), "t/.small/d");
    let staged = ask(&storage, StorageRequest::ListStaged { prefix: "t/".to_owned() });
    let Ok(StorageReply::Staged(staged)) = staged else { panic!("{staged:?}") };
    assert_eq!(staged.len(), 1);
    for one in staged {
        done(&storage, StorageRequest::Discard { path: one.path, token: one.token });
    }
    assert!(!is_there("t/.small") && is_there("t"));
}

#[test]
fn a_hidden_folder_that_goes_disturbs_nobody_who_writes_into_it_or_lists_it() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let storage = LocalFolder::new(folder.path());
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let storage = &storage;
            scope.spawn(move || {
                for number in 0..300 {
                    let path = format!("t/.small/{writer}-{number}");
                    match number % 3 {
                        0 => append(storage, &path),
                        1 => done(storage, StorageRequest::Put { path: path.clone(), bytes: b"rows".to_vec() }),
                        _ => done(storage, StorageRequest::Put { path: path.clone(), bytes: Vec::new() }),
                    }
                    delete(storage, &path);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..2_000 {
                let listed = ask(&storage, StorageRequest::List { prefix: "t".to_owned() });
                assert!(matches!(listed, Ok(StorageReply::Paths(_))), "{listed:?}");
            }
        });
    });
    assert!(!folder.path().join("t/.small").exists());
}
