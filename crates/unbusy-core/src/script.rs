//! Which script a command runs or loads.

use crate::command::{Command, Kind};
use crate::resp::args;

/// What a command of the families `EVAL`, `EVALSHA` and `FCALL` runs, or `SCRIPT LOAD` loads.
///
/// ```
/// use unbusy_core::Script;
/// assert_eq!(Script::of(b"EVAL return 0\r\n"), Some(Script::Text(b"return")));
/// assert_eq!(Script::of(b"fcall_ro slow 0\r\n"), Some(Script::Function(b"slow")));
/// assert_eq!(Script::of(b"GET k\r\n"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script<'a> {
    /// This text.
    Text(&'a [u8]),
    /// The text with this SHA-1, in hexadecimal digits.
    Sha1(&'a [u8]),
    /// The function of this name.
    Function(&'a [u8]),
    /// This text, and does not run it.
    Loaded(&'a [u8]),
}

/// What is in flight on a connection besides its first script. Replies come when the last of them has run, so it may be
/// another one that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// No other script.
    Alone,
    /// Nor here, but it is in a transaction.
    Transaction,
    /// Other scripts.
    Others,
}

impl<'a> Script<'a> {
    /// The script of a complete command, if it has one.
    pub fn of(request: &'a [u8]) -> Option<Self> {
        let mut words = args(request);
        match Command::read(request).kind {
            Kind::Script => {}
            Kind::Load => return words.nth(2).map(Self::Loaded),
            _ => return None,
        }
        let (family, what) = (words.next()?, words.next()?);
        Some(match family.to_ascii_uppercase().as_slice() {
            b"EVAL" | b"EVAL_RO" => Self::Text(what),
            b"EVALSHA" | b"EVALSHA_RO" => Self::Sha1(what),
            _ => Self::Function(what),
        })
    }

    /// The text, digits or name.
    pub const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Text(bytes) | Self::Sha1(bytes) | Self::Function(bytes) | Self::Loaded(bytes) => bytes,
        }
    }

    /// One of the same kind with another text, digits or name.
    pub(crate) const fn with(self, bytes: &[u8]) -> Script<'_> {
        match self {
            Self::Text(_) => Script::Text(bytes),
            Self::Sha1(_) => Script::Sha1(bytes),
            Self::Function(_) => Script::Function(bytes),
            Self::Loaded(_) => Script::Loaded(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Script;

    #[test]
    fn every_family_is_known() {
        let sha = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        let request = [b"*3\r\n$7\r\nEVALSHA\r\n$40\r\n".as_slice(), sha, b"\r\n$1\r\n0\r\n"].concat();
        assert_eq!(Script::of(&request), Some(Script::Sha1(sha)));
        assert_eq!(Script::of(b"evalsha_ro abc 0\r\n"), Some(Script::Sha1(b"abc")));
        assert_eq!(Script::of(b"eval_ro x 0\r\n"), Some(Script::Text(b"x")));
        assert_eq!(Script::of(b"FCALL f 0\r\n"), Some(Script::Function(b"f")));
        assert_eq!(Script::of(b"script load x\r\n"), Some(Script::Loaded(b"x")));
        assert_eq!(Script::of(b"EVAL\r\n"), None);
        assert_eq!(Script::of(b"SCRIPT LOAD\r\n"), None);
        assert_eq!(Script::of(b"SCRIPT FLUSH\r\n"), None);
    }
}
