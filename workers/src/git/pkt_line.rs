//! Git's framing: four hexadecimal digits of length (their own four bytes included), then that many bytes; `0000` ends
//! a section.

/// Bytes of a length.
const HEAD: usize = 4;
/// Bytes of the longest packet that Git allows.
const MAX: usize = 65_520;

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// `0000`.
    Flush,
    /// What it carries.
    Data(&'a [u8]),
}

/// This is not Git's framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed pkt-line")]
pub(crate) struct Malformed;

/// The first packet of `bytes` and how many bytes it took; `None` when more bytes are needed.
pub(crate) fn next(bytes: &[u8]) -> Result<Option<(Packet<'_>, usize)>, Malformed> {
    let Some(head) = bytes.get(..HEAD) else { return Ok(None) };
    if !head.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed);
    }
    let head = std::str::from_utf8(head).map_err(|_| Malformed)?;
    match usize::from_str_radix(head, 16).map_err(|_| Malformed)? {
        0 => Ok(Some((Packet::Flush, HEAD))),
        length @ HEAD..=MAX => Ok(bytes.get(HEAD..length).map(|data| (Packet::Data(data), length))),
        _ => Err(Malformed),
    }
}

/// Appends a packet with `data`, which is cut to what one packet holds.
pub(crate) fn push(into: &mut Vec<u8>, data: &[u8]) {
    let data = &data[..data.len().min(MAX - HEAD)];
    into.extend_from_slice(format!("{:04x}", data.len() + HEAD).as_bytes());
    into.extend_from_slice(data);
}

/// Appends `0000`.
pub(crate) fn push_flush(into: &mut Vec<u8>) {
    into.extend_from_slice(b"0000");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_one_by_one() {
        let mut bytes = Vec::new();
        push(&mut bytes, b"hello");
        push_flush(&mut bytes);
        assert_eq!(bytes, b"0009hello0000");
        assert_eq!(next(&bytes), Ok(Some((Packet::Data(b"hello"), 9))));
        assert_eq!(next(&bytes[9..]), Ok(Some((Packet::Flush, 4))));
        assert_eq!(next(b"0004"), Ok(Some((Packet::Data(b""), 4))));
    }

    #[test]
    fn half_a_packet_waits_and_nonsense_is_refused() {
        for half in [&b""[..], b"000", b"0009hell"] {
            assert_eq!(next(half), Ok(None));
        }
        for bad in [&b"0001"[..], b"0003", b"zzzz", b"+00a", b"fff1", b"\xff\xff\xff\xff"] {
            assert_eq!(next(bad), Err(Malformed), "{bad:?}");
        }
    }
}
