//! The model of storage does what every storage must.

use streamfleet_simulation::ServedAtOnce;
use streamfleet_storage::conformance::{Place, check};

#[test]
fn the_model_conforms() {
    let storage = ServedAtOnce::default();
    check(&Place { open: &|| storage.client(), prefix: String::new() });
}
