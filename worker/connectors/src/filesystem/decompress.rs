//! Files whose names say that they are compressed, as Flink reads them: from their beginning, whatever part of them is wanted.

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use std::io::{self, BufRead, ErrorKind, Read};

/// Bytes that are decompressed at a time.
const STEP: usize = 64 << 10;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zlib,
    Zstd,
}

impl Compression {
    /// What a file's name says; `Err`: a compression that is not read.
    pub fn of(path: &str) -> Result<Option<Self>, &'static str> {
        let name = path.rsplit('/').next().unwrap_or_default();
        Ok(match name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
            Some("gz" | "gzip") => Some(Self::Gzip),
            Some("deflate") => Some(Self::Zlib),
            Some("zst" | "zstd") => Some(Self::Zstd),
            Some("bz2") => return Err("bzip2"),
            Some("xz") => return Err("xz"),
            _ => None,
        })
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }
}

/// Compressed bytes on their way; more may come when they are used up.
#[derive(Debug, Default)]
struct Feed {
    bytes: Vec<u8>,
    used: usize,
    is_whole: bool,
}

impl Read for Feed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.bytes.len() && !self.is_whole {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(&self.bytes[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
    }
}

enum Decoder {
    Gzip(MultiGzDecoder<Feed>),
    Zlib(ZlibDecoder<Feed>),
    Zstd(zstd::stream::read::Decoder<'static, Feed>),
}

/// Decompresses a file as its bytes come.
pub(super) struct Decompressor {
    compression: Compression,
    decoder: Decoder,
    /// Decompressed bytes that are still to be left out: they were read before.
    skip: u64,
    is_at_end: bool,
}

impl Decompressor {
    /// Gives what lies behind so many decompressed bytes.
    pub fn new(compression: Compression, skip: u64) -> io::Result<Self> {
        let feed = Feed::default();
        let decoder = match compression {
            Compression::Gzip => Decoder::Gzip(MultiGzDecoder::new(feed)),
            Compression::Zlib => Decoder::Zlib(ZlibDecoder::new(feed)),
            Compression::Zstd => Decoder::Zstd(zstd::stream::read::Decoder::with_buffer(feed)?),
        };
        Ok(Self { compression, decoder, skip, is_at_end: false })
    }

    /// How the file is compressed.
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// Takes the next bytes of the file; `is_whole`: there are no more.
    pub fn give(&mut self, bytes: &[u8], is_whole: bool) {
        let feed = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zlib(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.get_mut(),
        };
        feed.bytes.drain(..std::mem::take(&mut feed.used));
        feed.bytes.extend_from_slice(bytes);
        feed.is_whole = is_whole;
    }

    /// True if the file has no further bytes.
    pub const fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Adds at least so many bytes to `out`, and few more; less if the file ends, or if more of it must be given first.
    ///
    /// # Errors
    /// The file is damaged, or ends too soon.
    pub fn read(&mut self, at_least: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let wanted = out.len() + at_least;
        while !self.is_at_end && out.len() < wanted {
            let before = out.len();
            out.resize(before + STEP, 0);
            let into = &mut out[before..];
            let read = match &mut self.decoder {
                Decoder::Gzip(decoder) => decoder.read(into),
                Decoder::Zlib(decoder) => decoder.read(into),
                Decoder::Zstd(decoder) => decoder.read(into),
            };
            let added = *read.as_ref().unwrap_or(&0);
            out.truncate(before + added);
            match read {
                Ok(0) => self.is_at_end = true,
                Ok(_) => {
                    let left_out = self.skip.min(added as u64);
                    self.skip -= left_out;
                    out.drain(before..before + left_out as usize);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn text() -> Vec<u8> {
        (0..40_000).flat_map(|n| format!("{n} {}\n", n % 7).into_bytes()).collect()
    }

    fn compressed(compression: Compression, text: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::default();
        match compression {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zlib => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(text, 3).unwrap(),
        }
    }

    /// Gives the file in pieces.
    fn read(compression: Compression, file: &[u8], piece: usize, skip: u64) -> io::Result<Vec<u8>> {
        let mut decompressor = Decompressor::new(compression, skip)?;
        let mut out = Vec::new();
        let mut pieces = file.chunks(piece).peekable();
        while let Some(bytes) = pieces.next() {
            decompressor.give(bytes, pieces.peek().is_none());
            loop {
                let before = out.len();
                decompressor.read(1, &mut out)?;
                assert!(out.len() <= before + STEP, "no more than was asked for, about");
                if out.len() == before {
                    break;
                }
            }
        }
        assert!(decompressor.is_at_end());
        Ok(out)
    }

    const ALL: [Compression; 3] = [Compression::Gzip, Compression::Zlib, Compression::Zstd];

    #[test]
    fn a_file_is_read_however_its_bytes_come() {
        let text = text();
        for compression in ALL {
            let file = compressed(compression, &text);
            for piece in [1, 2, 7, 1000, file.len()] {
                assert!(read(compression, &file, piece, 0).unwrap() == text, "{compression:?} {piece}");
            }
            for skip in [1, 65_536, 70_001, text.len(), text.len() + 5] {
                let rest = &text[skip.min(text.len())..];
                assert!(read(compression, &file, 777, skip as u64).unwrap() == rest, "{compression:?} {skip}");
            }
            assert!(read(compression, &compressed(compression, b""), 3, 0).unwrap().is_empty());
        }
    }

    #[test]
    fn parts_behind_each_other_are_one_file() {
        let text = text();
        for compression in [Compression::Gzip, Compression::Zstd] {
            let file = [&text[..100], &text[100..100], &text[100..]].map(|part| compressed(compression, part)).concat();
            for piece in [1, 13, 4096] {
                assert!(read(compression, &file, piece, 0).unwrap() == text, "{compression:?} {piece}");
            }
        }
    }

    #[test]
    fn damage_and_missing_bytes_are_errors() {
        for compression in ALL {
            let file = compressed(compression, &text());
            for end in [1, 5, file.len() / 2, file.len() - 1] {
                let error = read(compression, &file[..end], 100, 0).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{compression:?} {end}: {error}");
            }
            assert!(read(compression, b"{\"id\": 1}\n{\"id\": 2}\n", 100, 0).is_err(), "{compression:?}");
        }
        // Of the others not every encoder adds a sum.
        let mut file = compressed(Compression::Gzip, &text());
        let middle = file.len() / 2;
        file[middle] ^= 1;
        assert!(read(Compression::Gzip, &file, 100, 0).is_err());
    }

    #[test]
    fn names_say_how_files_are_compressed() {
        assert_eq!(Compression::of("a/b.json.gz"), Ok(Some(Compression::Gzip)));
        assert_eq!(Compression::of("a/b.JSON.GZ"), Ok(Some(Compression::Gzip)));
        assert_eq!(Compression::of("a/b.gzip"), Ok(Some(Compression::Gzip)));
        assert_eq!(Compression::of("a/b.deflate"), Ok(Some(Compression::Zlib)));
        assert_eq!(Compression::of("a/b.zst"), Ok(Some(Compression::Zstd)));
        assert_eq!(Compression::of("a.gz/b"), Ok(None));
        assert_eq!(Compression::of("a/b.json"), Ok(None));
        assert_eq!(Compression::of("a/b.json.bz2"), Err("bzip2"));
        assert_eq!(Compression::of("a/b.xz"), Err("xz"));
    }
}
