//! How the blocks of a file are compressed.

/// The most bytes of a block when it is unpacked: its size in the file says nothing of it.
const MOST_BYTES: usize = 256 << 20;

/// Fast, and small enough.
const LEVEL: u8 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl Codec {
    const ALL: [Self; 4] = [Self::Null, Self::Deflate, Self::Snappy, Self::Zstandard];

    /// The names of all.
    pub const NAMES: &'static [&'static str] = &["null", "deflate", "snappy", "zstandard"];

    /// The one of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The bytes as they lie in a file.
    pub fn pack(self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Null => Ok(bytes.to_vec()),
            Self::Deflate => Ok(miniz_oxide::deflate::compress_to_vec(bytes, LEVEL)),
            Self::Snappy => {
                let mut packed = snap::raw::Encoder::new().compress_vec(bytes).map_err(|error| error.to_string())?;
                packed.extend(crc32fast::hash(bytes).to_be_bytes());
                Ok(packed)
            }
            Self::Zstandard => zstd::bulk::compress(bytes, 0).map_err(|error| error.to_string()),
        }
    }

    /// The bytes that lie so in a file.
    pub fn unpack(self, packed: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Null => Ok(packed.to_vec()),
            Self::Deflate => miniz_oxide::inflate::decompress_to_vec_with_limit(packed, MOST_BYTES)
                .map_err(|error| error.to_string()),
            Self::Snappy => {
                let (packed, sum) = packed.split_last_chunk::<4>().ok_or("it ends before its checksum")?;
                let length = snap::raw::decompress_len(packed).map_err(|error| error.to_string())?;
                if length > MOST_BYTES {
                    return Err(format!("it would have {length} bytes"));
                }
                let bytes = snap::raw::Decoder::new().decompress_vec(packed).map_err(|error| error.to_string())?;
                if crc32fast::hash(&bytes) == u32::from_be_bytes(*sum) {
                    Ok(bytes)
                } else {
                    Err("its checksum is another".to_owned())
                }
            }
            Self::Zstandard => {
                // A frame may not say how much it holds.
                let mut bytes = Vec::new();
                let reader = zstd::stream::read::Decoder::new(packed).map_err(|error| error.to_string())?;
                let mut reader = std::io::Read::take(reader, MOST_BYTES as u64);
                std::io::Read::read_to_end(&mut reader, &mut bytes).map_err(|error| error.to_string())?;
                Ok(bytes)
            }
        }
    }
}
