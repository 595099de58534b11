//! The one place where a slot hears of anything but rows.

use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;
use streamfleet_env::StorageError;
use streamfleet_exchange::Wake;
use streamfleet_snapshot::SlotCommand;
use streamfleet_types::log::StateFile;

/// What a slot hears.
#[derive(Debug)]
pub enum SlotMessage {
    /// From the coordinator.
    Command(SlotCommand),
    /// Files of a snapshot were written, or not.
    Uploaded {
        /// Number of the upload.
        upload: u64,
        /// The files that are durable now.
        result: Result<Vec<StateFile>, StorageError>,
    },
    /// A file of the snapshot to restore from was read, or not.
    FileRead {
        /// Index of the file in the snapshot.
        index: usize,
        /// Its content.
        result: Result<Vec<u8>, StorageError>,
    },
}

/// Sends to a slot's mailbox and wakes it.
#[derive(Clone)]
pub struct SlotHandle {
    sender: Sender<SlotMessage>,
    wake: Wake,
}

impl SlotHandle {
    /// A handle and the receiving end.
    pub(crate) fn new(wake: Wake) -> (Self, Receiver<SlotMessage>) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        (Self { sender, wake }, receiver)
    }

    /// Delivers a message; one to a slot that is gone is dropped.
    pub fn send(&self, message: SlotMessage) {
        if self.sender.send(message).is_ok() {
            (self.wake)();
        }
    }

    /// Wakes the slot without a message.
    pub fn wake(&self) -> Wake {
        Arc::clone(&self.wake)
    }
}

impl From<SlotCommand> for SlotMessage {
    fn from(command: SlotCommand) -> Self {
        Self::Command(command)
    }
}
