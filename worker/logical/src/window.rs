//! Windows of event time.

use std::fmt;
use streamfleet_types::Millis;

/// How rows are assigned to windows; all spans in milliseconds. Windows begin at multiples of `slide` (plus `offset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowSpec {
    /// `TUMBLE`: one window a row.
    Tumble {
        /// Length.
        size: Millis,
        /// Shift of every window's start.
        offset: Millis,
    },
    /// `HOP`: `ceil(size / slide)` windows a row.
    Hop {
        /// Length.
        size: Millis,
        /// Distance between starts.
        slide: Millis,
        /// Shift of every window's start.
        offset: Millis,
    },
    /// `CUMULATE`: windows of one start that grow by `step` up to `size`.
    Cumulate {
        /// The greatest length.
        size: Millis,
        /// Growth.
        step: Millis,
        /// Shift of every window's start.
        offset: Millis,
    },
}

impl WindowSpec {
    /// Calls `each` with start and end of every window that holds the time.
    pub fn windows_of(&self, time: Millis, mut each: impl FnMut(Millis, Millis)) {
        let start_of = |span: Millis, offset: Millis| time - (time - offset).rem_euclid(span);
        match *self {
            Self::Tumble { size, offset } => {
                let start = start_of(size, offset);
                each(start, start + size);
            }
            Self::Hop { size, slide, offset } => {
                let mut start = start_of(slide, offset);
                while start > time - size {
                    each(start, start + size);
                    start -= slide;
                }
            }
            Self::Cumulate { size, step, offset } => {
                let start = start_of(size, offset);
                let mut end = start + ((time - start) / step + 1) * step;
                while end <= start + size {
                    each(start, end);
                    end += step;
                }
            }
        }
    }

    /// The shift of every window's start.
    pub const fn offset(&self) -> Millis {
        match *self {
            Self::Tumble { offset, .. } | Self::Hop { offset, .. } | Self::Cumulate { offset, .. } => offset,
        }
    }

    /// The start of the window that ends at `end`.
    pub const fn start_of_end(&self, end: Millis) -> Millis {
        match *self {
            Self::Tumble { size, .. } | Self::Hop { size, .. } => end - size,
            Self::Cumulate { size, offset, .. } => {
                let last = end - 1;
                last - (last - offset).rem_euclid(size)
            }
        }
    }
}

impl fmt::Display for WindowSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tumble { size, .. } => write!(f, "TUMBLE({size} ms")?,
            Self::Hop { size, slide, .. } => write!(f, "HOP(slide {slide} ms, size {size} ms")?,
            Self::Cumulate { size, step, .. } => write!(f, "CUMULATE(step {step} ms, size {size} ms")?,
        }
        match self.offset() {
            0 => f.write_str(")"),
            offset => write!(f, ", offset {offset} ms)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(spec: WindowSpec, time: Millis) -> Vec<(Millis, Millis)> {
        let mut all = vec![];
        spec.windows_of(time, |s, e| {
            assert_eq!(spec.start_of_end(e), s);
            all.push((s, e));
        });
        all
    }

    #[test]
    fn the_text_tells_offsets_apart() {
        let tumble = |offset| WindowSpec::Tumble { size: 10, offset }.to_string();
        let hop = |offset| WindowSpec::Hop { size: 10, slide: 5, offset }.to_string();
        let cumulate = |offset| WindowSpec::Cumulate { size: 10, step: 5, offset }.to_string();
        assert_eq!((tumble(0).as_str(), tumble(3).as_str()), ("TUMBLE(10 ms)", "TUMBLE(10 ms, offset 3 ms)"));
        assert_ne!(hop(0), hop(1));
        assert_ne!(cumulate(0), cumulate(1));
    }

    #[test]
    fn assigns_like_flink() {
        assert_eq!(windows(WindowSpec::Tumble { size: 10, offset: 0 }, -1), [(-10, 0)]);
        assert_eq!(windows(WindowSpec::Tumble { size: 10, offset: 3 }, 12), [(3, 13)]);
        assert_eq!(windows(WindowSpec::Hop { size: 10, slide: 4, offset: 0 }, 9), [(8, 18), (4, 14), (0, 10)]);
        assert_eq!(windows(WindowSpec::Cumulate { size: 10, step: 5, offset: 0 }, 3), [(0, 5), (0, 10)]);
        assert_eq!(windows(WindowSpec::Cumulate { size: 10, step: 5, offset: 0 }, 5), [(0, 10)]);
    }
}
