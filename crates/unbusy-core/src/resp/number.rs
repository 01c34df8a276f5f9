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

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn numbers_are_whole_or_nothing() {
        assert_eq!(parse(b"0"), Some(0));
        assert_eq!(parse(b"-1"), Some(-1));
        assert_eq!(parse(b"536870912"), Some(536_870_912));
        for bad in [&b""[..], b"-", b"1x", b" 1", b"99999999999999999999"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
