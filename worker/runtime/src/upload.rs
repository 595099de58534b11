//! Writes frozen tables to storage beside the slot: encodes a part, appends it, and encodes the next while the storage takes it, so
//! that a snapshot of any size needs the memory of two parts.

use crate::RuntimeEnv;
use crate::awaited::Awaited;
use crate::mailbox::{SlotHandle, SlotMessage};
use std::sync::{Arc, Mutex, Weak};
use streamfleet_env::{StorageError, StorageErrorKind, StorageReply, StorageRequest};
use streamfleet_state::file::Encoder;
use streamfleet_state::{FrozenTable, StateError};
use streamfleet_types::log::StateFile;
use streamfleet_types::{Epoch, HashRange};

/// Frozen tables of one epoch, with the operator that each belongs to.
pub(crate) type FrozenTables = Vec<(String, FrozenTable)>;

/// What an upload was given, shared with the thread that encodes it.
pub(crate) type KeptForUpload = Arc<Mutex<Vec<(Epoch, FrozenTables)>>>;

/// Where and how a slot's files are written.
#[derive(Debug, Clone)]
pub(crate) struct UploadTarget {
    pub range: HashRange,
    /// Begins every file's path; unique to job, term and slot.
    pub prefix: String,
    /// Bytes of a part, about.
    pub part_bytes: usize,
}

type Answer = Result<StorageReply, StorageError>;

/// An upload under way: a file for every epoch, one after the other.
pub(crate) struct Upload {
    env: RuntimeEnv,
    handle: SlotHandle,
    target: UploadTarget,
    number: u64,
    kept: KeptForUpload,
    /// Gone with the slot: then nobody waits for the upload any more.
    slot: Weak<()>,
    /// The epoch whose file is being written.
    index: usize,
    /// Of that file, once it has begun.
    encoder: Option<Encoder>,
    /// Of the part before, which the storage may still be taking.
    appended: Option<Awaited<Answer>>,
    written: Vec<StateFile>,
}

impl Upload {
    /// Begins; the slot is told of the end by [`SlotMessage::Uploaded`].
    pub fn begin(
        env: RuntimeEnv,
        handle: SlotHandle,
        target: UploadTarget,
        number: u64,
        kept: KeptForUpload,
        slot: Weak<()>,
    ) {
        let (index, encoder, appended, written) = (0, None, None, Vec::new());
        Self { env, handle, target, number, kept, slot, index, encoder, appended, written }.go_on();
    }

    fn path(&self) -> String {
        format!("{}-{:06}-{}.state", self.target.prefix, self.number, self.index)
    }

    /// Encodes on a thread that may take its time.
    fn go_on(self) {
        let spawner = Arc::clone(&self.env.spawner);
        spawner.spawn(Box::new(move || self.encode_next()));
    }

    fn encode_next(mut self) {
        if self.slot.strong_count() == 0 {
            // What it holds frozen is memory that the next run's state needs.
            return self.unstage();
        }
        let part = self.next_part();
        match self.appended.take() {
            None => self.write(part),
            Some(appended) => appended.then(move |answer| match answer {
                Ok(_) => self.write(part),
                Err(error) => self.end(Some(error)),
            }),
        }
    }

    /// `part`: of the file at hand; `None` if it is whole.
    fn write(mut self, part: Result<Option<Vec<u8>>, StateError>) {
        // Only now is it known of which file: epochs in which nothing changed have none.
        let path = self.path();
        match part {
            Ok(Some(bytes)) => {
                self.appended = Some(self.ask(StorageRequest::Append { path, bytes }));
                self.go_on();
            }
            Ok(None) if self.encoder.is_some() => {
                let sealed = self.ask(StorageRequest::Seal { path });
                sealed.then(move |answer| match answer {
                    Ok(_) => self.on_sealed(),
                    Err(error) => self.end(Some(error)),
                });
            }
            Ok(None) => self.end(None),
            Err(error) => self.end(Some(not_encoded(path, &error))),
        }
    }

    /// The next bytes of the file at hand; `None` if it is whole, or if there is no further file.
    fn next_part(&mut self) -> Result<Option<Vec<u8>>, StateError> {
        let kept = self.kept.lock().expect("no holder of this lock panics");
        while self.encoder.is_none() {
            let Some((epoch, tables)) = kept.get(self.index) else { return Ok(None) };
            self.encoder = Encoder::new(tables, *epoch, self.target.range);
            if self.encoder.is_none() {
                self.index += 1;
            }
        }
        let encoder = self.encoder.as_mut().expect("set above");
        encoder.next_part(&kept[self.index].1, self.target.part_bytes)
    }

    fn ask(&self, request: StorageRequest) -> Awaited<Answer> {
        let (awaited, arrives) = Awaited::new();
        self.env.storage.submit(request, Box::new(arrives));
        awaited
    }

    fn on_sealed(mut self) {
        let path = self.path();
        if let Some(encoder) = self.encoder.take() {
            let epoch = self.kept.lock().expect("no holder of this lock panics")[self.index].0;
            let (bytes, rows) = (encoder.bytes(), encoder.rows());
            self.written.push(StateFile { path, epoch, range: self.target.range, bytes, rows });
        }
        self.index += 1;
        self.go_on();
    }

    /// Throws away what is written of the file at hand.
    fn unstage(&self) {
        self.env.storage.submit(StorageRequest::Delete { path: self.path() }, Box::new(|_| {}));
    }

    fn end(self, failure: Option<StorageError>) {
        let result = match failure {
            None => {
                // Given back here: freeing so much memory would keep the slot's thread.
                self.kept.lock().expect("no holder of this lock panics").clear();
                Ok(self.written)
            }
            Some(error) => {
                // What it holds is written again under another name: on a full disk its room is needed at once.
                self.unstage();
                Err(error)
            }
        };
        self.handle.send(SlotMessage::Uploaded { upload: self.number, result });
    }
}

/// An encoding that failed, told as an upload that did.
fn not_encoded(path: String, error: &StateError) -> StorageError {
    StorageError { kind: StorageErrorKind::Broken, operation: "encode", path, detail: error.to_string() }
}
