//! The decimal numbers in RESP headers.

/// Reads an optionally signed decimal number that fills `digits` completely.
pub(super) fn parse(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    // 18 digits cannot overflow an i64 and are more than any length a server accepts.
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0_i64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}

/// Reads a header at the start of `bytes`, if it has come and is written the way nearly all are: a type byte, up to seven
/// digits, a line end. Returns the number and the length of the header.
#[inline]
pub(super) fn header(kind: u8, bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes {
        [first, a, b'\r', b'\n', ..] if first == kind && a.is_ascii_digit() => {
            Some((usize::from(a - b'0'), 4))
        }
        [first, a, b, b'\r', b'\n', ..] if first == kind && a.is_ascii_digit() && b.is_ascii_digit() => {
            Some((usize::from(a - b'0') * 10 + usize::from(b - b'0'), 5))
        }
        _ => longer_header(kind, bytes),
    }
}

fn longer_header(kind: u8, bytes: &[u8]) -> Option<(usize, usize)> {
    let digits = bytes.strip_prefix(&[kind])?;
    let mut value = 0;
    for (at, byte) in digits.iter().take(8).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let usual = at > 0 && digits[at..].starts_with(b"\r\n");
            return usual.then_some((value, at + 3));
        }
        value = value * 10 + usize::from(digit);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{header, parse};

    #[test]
    fn a_header_is_read_if_it_is_whole_and_usual() {
        assert_eq!(header(b'$', b"$12\r\nab"), Some((12, 5)));
        assert_eq!(header(b'$', b"$1234567\r\n"), Some((1_234_567, 10)));
        for other in
            [&b""[..], b"$", b"$\r\n", b"$1", b"$1\r", b"$1\n", b"$-1\r\n", b"$12345678\r\n", b"*1\r\n"]
        {
            assert_eq!(header(b'$', other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn numbers_are_whole_or_nothing() {
        assert_eq!(parse(b"0"), Some(0));
        assert_eq!(parse(b"-1"), Some(-1));
        assert_eq!(parse(b"536870912"), Some(536_870_912));
        assert_eq!(parse(b"+999999999999999999"), Some(999_999_999_999_999_999));
        for bad in [&b""[..], b"-", b"1x", b" 1", b"99999999999999999999"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
