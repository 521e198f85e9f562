//! The framing of bodies whose checksum follows them (`aws-chunked`): chunks with their sizes in hexadecimal digits,
//! an empty one, and trailers.

use bytes::Bytes;

/// The longest line, in bytes. Those of S3's clients have a signature of 64 digits at most.
const MAX_LINE: usize = 256;

/// The names of trailers, in lower case, and their values.
pub type Trailers = Vec<(String, String)>;

/// A framed body while it arrives.
#[derive(Default)]
pub struct Framing {
    next: Next,
    /// The line so far.
    line: Vec<u8>,
    trailers: Trailers,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    #[default]
    Size,
    Data(usize),
    EndOfData,
    Trailer,
    Nothing,
}

/// The body is not framed as announced.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl Framing {
    /// Calls `on_data` with the data among the next bytes of the body, which are not copied.
    ///
    /// # Errors
    /// When the bytes are malformed.
    pub fn add(
        &mut self,
        mut bytes: Bytes,
        mut on_data: impl FnMut(Bytes),
    ) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            if self.next == Next::Nothing {
                return Err(Malformed);
            }
            if let Next::Data(left) = &mut self.next {
                let data = bytes.split_to(bytes.len().min(*left));
                *left -= data.len();
                if *left == 0 {
                    self.next = Next::EndOfData;
                }
                on_data(data);
                continue;
            }
            let byte = bytes.split_to(1)[0];
            self.line.push(byte);
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                let line =
                    std::str::from_utf8(&line).ok().and_then(|line| line.strip_suffix("\r\n"));
                self.end_line(line.ok_or(Malformed)?)?;
            } else if self.line.len() > MAX_LINE {
                return Err(Malformed);
            }
        }
        Ok(())
    }

    /// Returns the trailers.
    ///
    /// # Errors
    /// When the body is not complete.
    pub fn finish(self) -> Result<Trailers, Malformed> {
        if self.next == Next::Nothing { Ok(self.trailers) } else { Err(Malformed) }
    }

    fn end_line(&mut self, line: &str) -> Result<(), Malformed> {
        self.next = match (self.next, line) {
            (Next::Size, _) => {
                let (size, _) = line.split_once(';').unwrap_or((line, ""));
                match usize::from_str_radix(size, 16).map_err(|_| Malformed)? {
                    0 => Next::Trailer,
                    size => Next::Data(size),
                }
            }
            (Next::EndOfData, "") => Next::Size,
            (Next::Trailer, "") => Next::Nothing,
            (Next::Trailer, _) => {
                let (name, value) = line.split_once(':').ok_or(Malformed)?;
                self.trailers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                Next::Trailer
            }
            _ => return Err(Malformed),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Framing, Malformed, Trailers};

    /// Decodes a body that arrives in pieces of this size. Returns its data, and its trailers.
    fn decode(body: &'static str, piece: usize) -> Result<(String, Trailers), Malformed> {
        let (mut framing, mut data) = (Framing::default(), Vec::new());
        for piece in body.as_bytes().chunks(piece) {
            framing.add(piece.into(), |bytes| data.extend_from_slice(&bytes))?;
        }
        Ok((String::from_utf8(data).unwrap(), framing.finish()?))
    }

    #[test]
    fn chunks_become_the_data_in_whatever_pieces_they_arrive() {
        let body = "5\r\nhello\r\n6;chunk-signature=0a\r\n\r\nworl\r\n0\r\nx-amz-checksum-crc32: abc=\r\n\r\n";
        for piece in 1..=body.len() {
            let (data, trailers) = decode(body, piece).unwrap();
            assert_eq!(data, "hello\r\nworl");
            assert_eq!(trailers, [("x-amz-checksum-crc32".to_owned(), "abc=".to_owned())]);
        }
    }

    #[test]
    fn other_bodies_are_malformed() {
        for body in ["", "5\r\nhell", "5\r\nhello!\r\n0\r\n\r\n", "x\r\n", "0\r\n", "0\r\n\r\nmore"]
        {
            assert_eq!(decode(body, 3), Err(Malformed), "{body}");
        }
    }
}
