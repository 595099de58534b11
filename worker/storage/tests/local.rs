//! The local folder does what every storage must.

use std::sync::Arc;
use streamfleet_env::Storage;
use streamfleet_storage::LocalFolder;
use streamfleet_storage::conformance::{Place, check};

#[test]
fn the_local_folder_conforms() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let open = || Arc::new(LocalFolder::new(folder.path())) as Arc<dyn Storage>;
    check(&Place { open: &open, prefix: String::new() });
}
