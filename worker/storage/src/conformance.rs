//! What every storage must do, as checks that panic: run on the local folder, on a real S3 server and on the simulation's model.

use crate::ask;
use std::sync::{Arc, Barrier};
use streamfleet_env::{Staged, Storage, StorageErrorKind, StorageReply, StorageRequest};

/// Writers that race for one path.
const RACERS: usize = 16;

/// Races in a row.
const RACES: usize = 10;

/// Larger than the smallest part that S3 takes.
const LARGE: usize = 6 << 20;

type Answer = Result<StorageReply, StorageErrorKind>;

/// Views of one place, as processes have them.
pub struct Place<'a> {
    /// A view of its own at every call.
    pub open: &'a dyn Fn() -> Arc<dyn Storage>,
    /// Begins every path; the place holds nothing below it. Empty, or ending in a slash.
    pub prefix: String,
}

/// Runs all checks.
///
/// # Panics
/// The storage does not do what it must.
pub fn check(place: &Place) {
    created_for_one_caller_only(place);
    written_is_read(place);
    ranges_are_cut_short(place);
    listings_are_sorted_and_of_the_folder(place);
    staged_shows_only_when_sealed(place);
    prepared_shows_only_when_published(place);
    staged_is_listed_and_discarded(place);
    each_process_stages_for_itself(place);
    deleted_is_gone(place);
    requests_on_one_path_keep_their_order(place);
}

struct View<'a> {
    storage: Arc<dyn Storage>,
    place: &'a Place<'a>,
}

impl View<'_> {
    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.place.prefix)
    }

    fn ask(&self, request: StorageRequest) -> Answer {
        ask(self.storage.as_ref(), request).map_err(|error| error.kind)
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Answer {
        self.ask(StorageRequest::PutNew { path: self.path(name), bytes: bytes.to_vec() })
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Answer {
        self.ask(StorageRequest::Put { path: self.path(name), bytes: bytes.to_vec() })
    }

    fn append(&self, name: &str, bytes: &[u8]) {
        assert_eq!(
            self.ask(StorageRequest::Append { path: self.path(name), bytes: bytes.to_vec() }),
            Ok(StorageReply::Done)
        );
    }

    fn seal(&self, name: &str) -> Answer {
        self.ask(StorageRequest::Seal { path: self.path(name) })
    }

    fn prepare(&self, name: &str) -> String {
        match self.ask(StorageRequest::Prepare { path: self.path(name) }) {
            Ok(StorageReply::Prepared(token)) => token,
            other => panic!("{name} cannot be prepared: {other:?}"),
        }
    }

    fn publish(&self, name: &str, token: &str) -> Answer {
        self.ask(StorageRequest::Publish { path: self.path(name), token: token.to_owned() })
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StorageErrorKind> {
        self.get_range(name, None)
    }

    fn get_range(&self, name: &str, range: Option<(u64, u64)>) -> Result<Vec<u8>, StorageErrorKind> {
        match self.ask(StorageRequest::Get { path: self.path(name), range })? {
            StorageReply::Bytes(bytes) => Ok(bytes),
            other => panic!("a reading is answered by bytes, not by {other:?}"),
        }
    }

    fn list(&self, name: &str) -> Vec<(String, u64)> {
        match self.ask(StorageRequest::List { prefix: self.path(name) }) {
            Ok(StorageReply::Paths(paths)) => {
                let strip = |p: String| p.strip_prefix(&self.place.prefix).expect("what was asked for").to_owned();
                paths.into_iter().map(|(path, size)| (strip(path), size)).collect()
            }
            other => panic!("{name} cannot be listed: {other:?}"),
        }
    }

    fn staged(&self, name: &str) -> Vec<Staged> {
        match self.ask(StorageRequest::ListStaged { prefix: self.path(name) }) {
            Ok(StorageReply::Staged(staged)) => staged,
            other => panic!("what is staged in {name} cannot be listed: {other:?}"),
        }
    }

    fn discard(&self, staged: &Staged) -> Answer {
        self.ask(StorageRequest::Discard { path: staged.path.clone(), token: staged.token.clone() })
    }
}

impl Place<'_> {
    fn view(&self) -> View<'_> {
        View { storage: (self.open)(), place: self }
    }
}

fn created_for_one_caller_only(place: &Place) {
    let storages: Vec<Arc<dyn Storage>> = (0..RACERS).map(|_| (place.open)()).collect();
    for race in 0..RACES {
        let name = format!("race/{race}");
        let barrier = Barrier::new(RACERS);
        let path = place.view().path(&name);
        let won: Vec<bool> = std::thread::scope(|scope| {
            let racers = storages.iter().enumerate().map(|(racer, storage)| {
                let (barrier, path) = (&barrier, path.clone());
                scope.spawn(move || {
                    barrier.wait();
                    let request = StorageRequest::PutNew { path, bytes: racer.to_string().into_bytes() };
                    match ask(storage.as_ref(), request).map_err(|e| e.kind) {
                        Ok(StorageReply::Done) => true,
                        Err(StorageErrorKind::AlreadyExists) => false,
                        other => panic!("a race has winners and losers, not {other:?}"),
                    }
                })
            });
            let racers: Vec<_> = racers.collect();
            racers.into_iter().map(|racer| racer.join().expect("no racer panics")).collect()
        });
        let winners: Vec<usize> = (0..RACERS).filter(|racer| won[*racer]).collect();
        assert_eq!(winners.len(), 1, "one writer wins: {winners:?}");
        assert_eq!(place.view().get(&name), Ok(winners[0].to_string().into_bytes()), "the winner's content stands");
    }
    let view = place.view();
    assert_eq!(view.put_new("race/0", b"late"), Err(StorageErrorKind::AlreadyExists));
}

fn written_is_read(place: &Place) {
    let view = place.view();
    assert_eq!(view.get("whole/a"), Err(StorageErrorKind::NotFound));
    for bytes in [&b"first"[..], b"", b"second and longer", &[0xFF; 100_000]] {
        assert_eq!(view.put("whole/a", bytes), Ok(StorageReply::Done));
        assert_eq!(view.get("whole/a").as_deref(), Ok(bytes));
        assert_eq!(place.view().get("whole/a").as_deref(), Ok(bytes), "another process reads it too");
    }
    let strange = "whole/dt=2020-01-01 10%3A00/é+&?#.json";
    assert_eq!(view.put(strange, b"x"), Ok(StorageReply::Done));
    assert_eq!(view.get(strange).as_deref(), Ok(&b"x"[..]));
    assert_eq!(view.list("whole/dt=2020-01-01 10%3A00/"), [(strange.to_owned(), 1)]);
}

fn ranges_are_cut_short(place: &Place) {
    let view = place.view();
    view.put("ranges/a", b"0123456789").expect("it is written");
    for (range, expected) in [
        ((0, 4), &b"0123"[..]),
        ((4, 3), b"456"),
        ((8, 100), b"89"),
        ((0, u64::MAX), b"0123456789"),
        ((3, 0), b""),
        ((10, 5), b""),
        ((1000, 5), b""),
    ] {
        assert_eq!(view.get_range("ranges/a", Some(range)).as_deref(), Ok(expected), "{range:?}");
    }
    view.put("ranges/empty", b"").expect("it is written");
    assert_eq!(view.get_range("ranges/empty", Some((0, 10))).as_deref(), Ok(&b""[..]));
    assert_eq!(view.get_range("ranges/none", Some((0, 10))), Err(StorageErrorKind::NotFound));
}

fn listings_are_sorted_and_of_the_folder(place: &Place) {
    let view = place.view();
    for name in ["list/b", "list/a/2", "list/a/10", "list/a-b", "list/c/d/e", "list2/x", "lis"] {
        view.put(name, name.as_bytes()).expect("it is written");
    }
    let names = |prefix: &str| view.list(prefix).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let all = ["list/a-b", "list/a/10", "list/a/2", "list/b", "list/c/d/e"];
    assert_eq!(names("list/"), all);
    assert_eq!(names("list"), all, "a folder without a slash");
    assert_eq!(names("list/a/"), ["list/a/10", "list/a/2"]);
    assert_eq!(names("list/a"), ["list/a/10", "list/a/2"]);
    assert_eq!(view.list("list/b"), [("list/b".to_owned(), 6)], "a single object");
    assert_eq!(names("list/none/"), [""; 0]);
    assert_eq!(names("list/none"), [""; 0]);
}

fn large() -> Vec<u8> {
    (0..LARGE).map(|n| (n % 251) as u8).collect()
}

fn staged_shows_only_when_sealed(place: &Place) {
    let view = place.view();
    assert_eq!(view.seal("seal/none"), Err(StorageErrorKind::NotFound));
    for (name, bytes) in [("seal/small", b"some bytes".to_vec()), ("seal/large", large())] {
        for piece in bytes.chunks(1 << 20) {
            view.append(name, piece);
        }
        assert_eq!(view.get(name), Err(StorageErrorKind::NotFound), "{name} shows before it is sealed");
        assert_eq!(view.list("seal/").iter().filter(|(found, _)| found == name).count(), 0);
        assert_eq!(view.seal(name), Ok(StorageReply::Done));
        assert!(place.view().get(name) == Ok(bytes.clone()), "{name} is what was appended");
        assert!(view.list("seal/").contains(&(name.to_owned(), bytes.len() as u64)));
    }
    assert_eq!(view.staged("seal/"), []);
}

fn prepared_shows_only_when_published(place: &Place) {
    let view = place.view();
    for (name, bytes) in [("out/small", b"some rows".to_vec()), ("out/large", large())] {
        for piece in bytes.chunks(1 << 20) {
            view.append(name, piece);
        }
        let token = view.prepare(name);
        for other in [&view, &place.view()] {
            assert_eq!(other.get(name), Err(StorageErrorKind::NotFound), "{name} shows before it is published");
            assert!(other.list("out/").iter().all(|(found, _)| found != name));
        }
        // Another process publishes, and others after it do the same.
        for _ in 0..3 {
            assert_eq!(place.view().publish(name, &token), Ok(StorageReply::Done), "{name} can be published again");
            assert!(view.get(name) == Ok(bytes.clone()), "{name} is what was prepared");
        }
    }
    assert_eq!(view.staged("out/"), []);
    view.append("out/gone", b"x");
    let token = view.prepare("out/gone");
    view.staged("out/").iter().for_each(|staged| assert_eq!(view.discard(staged), Ok(StorageReply::Done)));
    assert_eq!(view.publish("out/gone", &token), Err(StorageErrorKind::NotFound), "what was discarded is gone");
    // Who prepared it knows it by another name than who finds it.
    view.append("out/left", b"x");
    let staged = Staged { path: view.path("out/left"), token: view.prepare("out/left") };
    assert_eq!(view.discard(&staged), Ok(StorageReply::Done));
    assert_eq!(view.staged("out/"), []);
}

fn staged_is_listed_and_discarded(place: &Place) {
    let view = place.view();
    for name in ["left/a", "left/b/c", "left2/d"] {
        view.append(name, b"rows");
        view.prepare(name);
    }
    let other = place.view();
    let found: Vec<String> = other.staged("left/").into_iter().map(|s| s.path).collect();
    assert_eq!(found, [other.path("left/a"), other.path("left/b/c")]);
    for staged in other.staged("left/") {
        assert_eq!(other.discard(&staged), Ok(StorageReply::Done));
        assert_eq!(other.discard(&staged), Ok(StorageReply::Done), "it is gone already");
    }
    assert_eq!(other.staged("left/"), []);
    assert_eq!(other.staged("left2").len(), 1);
    other.staged("left2/").iter().for_each(|staged| assert_eq!(other.discard(staged), Ok(StorageReply::Done)));
    // A process that gives a path up takes what it has staged with it.
    let bytes = large();
    view.append("left/e", &bytes);
    view.ask(StorageRequest::Delete { path: view.path("left/e") }).expect("it is deleted");
    assert_eq!(view.staged("left/"), []);
    view.append("left/e", b"anew");
    assert_eq!(view.seal("left/e"), Ok(StorageReply::Done));
    assert_eq!(view.get("left/e").as_deref(), Ok(&b"anew"[..]));
}

fn each_process_stages_for_itself(place: &Place) {
    let (first, second) = (place.view(), place.view());
    let unstage = |view: &View| view.ask(StorageRequest::Unstage { path: view.path("both/a") });
    for bytes in [&b"whole "[..], b"rows"] {
        first.append("both/a", bytes);
        second.append("both/a", b"half");
    }
    let token = first.prepare("both/a");
    assert_eq!(unstage(&second), Ok(StorageReply::Done));
    assert_eq!(first.publish("both/a", &token), Ok(StorageReply::Done));
    assert_eq!(first.get("both/a").as_deref(), Ok(&b"whole rows"[..]));
    // Unstaging does not touch what shows, and what comes after it begins anew.
    assert_eq!(unstage(&second), Ok(StorageReply::Done), "nothing is staged");
    assert_eq!(first.get("both/a").as_deref(), Ok(&b"whole rows"[..]));
    second.append("both/b", b"x");
    let bytes = large();
    second.append("both/b", &bytes);
    assert_eq!(second.ask(StorageRequest::Unstage { path: second.path("both/b") }), Ok(StorageReply::Done));
    second.append("both/b", b"anew");
    let token = second.prepare("both/b");
    assert_eq!(second.publish("both/b", &token), Ok(StorageReply::Done));
    assert_eq!(first.get("both/b").as_deref(), Ok(&b"anew"[..]));
    assert_eq!(second.staged("both/"), []);
}

fn deleted_is_gone(place: &Place) {
    let view = place.view();
    let delete = |name: &str| view.ask(StorageRequest::Delete { path: view.path(name) });
    view.put("delete/a", b"x").expect("it is written");
    assert_eq!(delete("delete/a"), Ok(StorageReply::Done));
    assert_eq!(view.get("delete/a"), Err(StorageErrorKind::NotFound));
    assert_eq!(delete("delete/a"), Ok(StorageReply::Done), "it is gone already");
    assert_eq!(delete("delete/never/was"), Ok(StorageReply::Done));
    assert_eq!(view.put_new("delete/a", b"y"), Ok(StorageReply::Done), "its path is free");
}

fn requests_on_one_path_keep_their_order(place: &Place) {
    let view = place.view();
    let (sender, answers) = std::sync::mpsc::channel();
    for n in 0..50_u32 {
        let sender = sender.clone();
        let request = StorageRequest::Append { path: view.path("order/a"), bytes: n.to_le_bytes().to_vec() };
        view.storage.submit(request, Box::new(move |answer| sender.send(answer.is_ok()).expect("it is waited for")));
    }
    assert_eq!(view.seal("order/a"), Ok(StorageReply::Done));
    assert_eq!(answers.try_iter().filter(|is_ok| *is_ok).count(), 50, "all were answered before the last");
    let expected: Vec<u8> = (0..50_u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(view.get("order/a"), Ok(expected));
}
