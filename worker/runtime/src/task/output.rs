//! The edges out of a task: which subtask gets which rows.

use arrow::array::UInt32Array;
use streamfleet_exchange::QueueSender;
use streamfleet_types::hash::hash_columns;
use streamfleet_types::{Batch, BatchError, Element, owner_of};

/// How an edge deals rows.
pub(crate) enum Router {
    /// To the first consumer.
    Single,
    /// By the owner of the key's hash.
    Hash { columns: Vec<usize>, max_parallelism: u32 },
    /// Batch by batch in turn.
    Rebalance { next: usize },
}

/// One edge: a queue to every consumer subtask.
pub(crate) struct OutputEdge {
    pub router: Router,
    pub queues: Vec<QueueSender>,
    /// Scratch: rows of the batch at hand, per consumer.
    rows: Vec<Vec<u32>>,
}

impl OutputEdge {
    pub fn new(router: Router, queues: Vec<QueueSender>) -> Self {
        let rows = vec![Vec::new(); queues.len()];
        Self { router, queues, rows }
    }

    fn push_batch(&mut self, batch: &Batch) -> Result<(), BatchError> {
        match &mut self.router {
            Router::Single => self.queues[0].push(Element::Batch(batch.clone())),
            Router::Rebalance { next } => {
                self.queues[*next].push(Element::Batch(batch.clone()));
                *next = (*next + 1) % self.queues.len();
            }
            Router::Hash { .. } if self.queues.len() == 1 => self.queues[0].push(Element::Batch(batch.clone())),
            Router::Hash { columns, max_parallelism } => {
                let keys: Vec<_> = columns.iter().map(|c| batch.column(*c).clone()).collect();
                let hashes = hash_columns(&keys, batch.rows())?;
                let consumers = self.queues.len() as u32;
                self.rows.iter_mut().for_each(Vec::clear);
                for (row, hash) in hashes.iter().enumerate() {
                    self.rows[owner_of(*hash, consumers, *max_parallelism) as usize].push(row as u32);
                }
                for (queue, rows) in self.queues.iter_mut().zip(&mut self.rows) {
                    if rows.len() == batch.rows() {
                        queue.push(Element::Batch(batch.clone()));
                    } else if !rows.is_empty() {
                        let indices = UInt32Array::from(std::mem::take(rows));
                        queue.push(Element::Batch(batch.take(&indices)?));
                    }
                }
            }
        }
        Ok(())
    }
}

/// All edges out of a task.
#[derive(Default)]
pub(crate) struct Outputs {
    pub edges: Vec<OutputEdge>,
}

impl Outputs {
    /// Moves what waits for a place in a queue on.
    pub fn flush(&mut self) {
        for queue in self.edges.iter_mut().flat_map(|e| &mut e.queues) {
            if queue.is_waiting() {
                queue.flush();
            }
        }
    }

    /// True if every queue takes another batch.
    pub fn has_room(&mut self) -> bool {
        self.flush();
        self.edges.iter().flat_map(|e| &e.queues).all(QueueSender::has_room)
    }

    pub fn push_batch(&mut self, batch: &Batch) -> Result<(), BatchError> {
        self.edges.iter_mut().try_for_each(|edge| edge.push_batch(batch))
    }

    /// Control elements go to every consumer subtask.
    pub fn push_control(&mut self, element: &Element) {
        for queue in self.edges.iter_mut().flat_map(|e| &mut e.queues) {
            queue.push(element.clone());
        }
    }
}
