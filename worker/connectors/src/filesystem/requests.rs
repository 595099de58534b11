//! Many requests to storage, some at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use streamfleet_env::{Storage, StorageError, StorageReply, StorageRequest};

/// Requests under way: storage far away answers many at once in the time of one.
const LANES: usize = 16;

/// Takes the answers, in no order, or the first error.
type Answers = Box<dyn FnOnce(Result<Vec<StorageReply>, String>) + Send>;

struct Requests {
    files: Arc<dyn Storage>,
    state: Mutex<State>,
}

struct State {
    waiting: VecDeque<StorageRequest>,
    under_way: usize,
    answers: Vec<StorageReply>,
    error: Option<String>,
    done: Option<Answers>,
}

/// Carries requests out that do not depend on each other. After an error none is begun; `done` is called when none is under way.
pub(super) fn perform(files: &Arc<dyn Storage>, requests: impl IntoIterator<Item = StorageRequest>, done: Answers) {
    let waiting: VecDeque<_> = requests.into_iter().collect();
    if waiting.is_empty() {
        return done(Ok(Vec::new()));
    }
    let lanes = waiting.len().min(LANES);
    // Each lane counts as under way from here on: none may take the others for finished.
    let state = State { waiting, under_way: lanes, answers: Vec::new(), error: None, done: Some(done) };
    let requests = Arc::new(Requests { files: Arc::clone(files), state: Mutex::new(state) });
    for _ in 0..lanes {
        Arc::clone(&requests).go_on();
    }
}

impl Requests {
    /// The next request of a lane, or its end.
    fn go_on(self: Arc<Self>) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let next = if state.error.is_none() { state.waiting.pop_front() } else { None };
        if let Some(request) = next {
            drop(state);
            let lane = Arc::clone(&self);
            return self.files.submit(request, Box::new(move |answer| lane.answered(answer)));
        }
        state.under_way -= 1;
        if state.under_way == 0 {
            let answers = std::mem::take(&mut state.answers);
            let result = state.error.take().map_or(Ok(answers), Err);
            let done = state.done.take().expect("the last lane ends once");
            drop(state);
            done(result);
        }
    }

    fn answered(self: Arc<Self>, answer: Result<StorageReply, StorageError>) {
        {
            let mut state = self.state.lock().expect("no holder of this lock panics");
            match answer {
                Ok(reply) => state.answers.push(reply),
                Err(error) => {
                    state.error.get_or_insert(error.to_string());
                }
            }
        }
        self.go_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use streamfleet_env::{Completion, StorageErrorKind};

    /// Answers when it is told to; a path that begins with `bad` is refused.
    #[derive(Default)]
    struct Held(Mutex<VecDeque<(StorageRequest, Completion)>>);

    impl Storage for Held {
        fn submit(&self, request: StorageRequest, done: Completion) {
            self.0.lock().unwrap().push_back((request, done));
        }
    }

    impl Held {
        fn under_way(&self) -> usize {
            self.0.lock().unwrap().len()
        }

        fn answer_one(&self) {
            let (request, done) = self.0.lock().unwrap().pop_front().expect("one is under way");
            let path = request.path().to_owned();
            done(if path.starts_with("bad") {
                let kind = StorageErrorKind::Broken;
                Err(StorageError { kind, operation: "publish", path, detail: "no".to_owned() })
            } else {
                Ok(StorageReply::Done)
            });
        }
    }

    fn publish(path: &str) -> StorageRequest {
        StorageRequest::Publish { path: path.to_owned(), token: String::new() }
    }

    fn begin(paths: &[String]) -> (Arc<Held>, std::sync::mpsc::Receiver<Result<usize, String>>) {
        let (held, (sender, receiver)) = (Arc::new(Held::default()), channel());
        let files: Arc<dyn Storage> = Arc::clone(&held) as Arc<dyn Storage>;
        let done: Answers = Box::new(move |answers| sender.send(answers.map(|a| a.len())).expect("somebody listens"));
        perform(&files, paths.iter().map(|path| publish(path)), done);
        (held, receiver)
    }

    #[test]
    fn as_many_as_there_are_lanes_are_under_way_and_all_are_done() {
        let paths: Vec<String> = (0..3 * LANES).map(|n| format!("part-{n}")).collect();
        let (held, result) = begin(&paths);
        for left in (1..=paths.len()).rev() {
            assert_eq!(held.under_way(), left.min(LANES));
            assert!(result.try_recv().is_err(), "{left} are not done");
            held.answer_one();
        }
        assert_eq!(result.try_recv().expect("it is told"), Ok(paths.len()));
        assert_eq!(begin(&[]).1.try_recv().expect("at once"), Ok(0));
    }

    #[test]
    fn after_an_error_none_is_begun_and_it_is_told_when_none_is_under_way() {
        let mut paths: Vec<String> = (0..3 * LANES).map(|n| format!("part-{n}")).collect();
        paths[1] = "bad".to_owned();
        let (held, result) = begin(&paths);
        held.answer_one();
        assert_eq!(held.under_way(), LANES);
        held.answer_one();
        for left in (1..LANES).rev() {
            assert_eq!(held.under_way(), left);
            assert!(result.try_recv().is_err(), "{left} are under way");
            held.answer_one();
        }
        let error = result.try_recv().expect("it is told").expect_err("one was refused");
        assert!(error.contains("cannot publish bad"), "{error}");
    }
}
