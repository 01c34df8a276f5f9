//! Who the client says it is: what it logged in as, and what it calls itself.

use crate::resp::args;

/// Of names and users no more is kept than this.
const CHARS_MAX: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Who {
    pub(super) user: Option<Box<str>>,
    pub(super) name: Option<Box<str>>,
}

impl Who {
    /// Takes note of a command that the server has accepted: AUTH, HELLO or CLIENT SETNAME.
    pub(super) fn learn(&mut self, command: &[u8]) {
        let words: Vec<&[u8]> = args(command).collect();
        let is = |word: &[u8], text: &str| word.eq_ignore_ascii_case(text.as_bytes());
        match words.as_slice() {
            [auth, _] if is(auth, "AUTH") => self.user = Some("default".into()),
            [auth, user, _] if is(auth, "AUTH") => self.user = text(user),
            [client, setname, name] if is(client, "CLIENT") && is(setname, "SETNAME") => {
                self.name = text(name);
            }
            [hello, _, options @ ..] if is(hello, "HELLO") => self.learn_options(options),
            _ => {}
        }
    }

    /// Those of HELLO (redis `src/networking.c`, `helloCommand`).
    fn learn_options(&mut self, mut options: &[&[u8]]) {
        loop {
            options = match options {
                [option, user, _, rest @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                    self.user = text(user);
                    rest
                }
                [option, name, rest @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => {
                    self.name = text(name);
                    rest
                }
                _ => return,
            }
        }
    }
}

/// Nothing, if it is empty, which is how a name is taken away.
fn text(bytes: &[u8]) -> Option<Box<str>> {
    let text: String = String::from_utf8_lossy(bytes).chars().take(CHARS_MAX).collect();
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::Who;

    fn after(commands: &[&str]) -> (Option<String>, Option<String>) {
        let mut who = Who::default();
        for command in commands {
            who.learn(format!("{command}\r\n").as_bytes());
        }
        (who.user.map(Into::into), who.name.map(Into::into))
    }

    #[test]
    fn every_way_to_say_it_is_understood() {
        let said = |user: Option<&str>, name: Option<&str>| (user.map(Into::into), name.map(Into::into));
        assert_eq!(after(&["auth secret"]), said(Some("default"), None));
        assert_eq!(after(&["AUTH alice secret"]), said(Some("alice"), None));
        assert_eq!(after(&["CLIENT SETNAME w1"]), said(None, Some("w1")));
        assert_eq!(after(&["HELLO 3 AUTH bob pw SETNAME w2"]), said(Some("bob"), Some("w2")));
        assert_eq!(
            after(&["HELLO 3 SETNAME w3 AUTH bob pw", "AUTH carol x"]),
            said(Some("carol"), Some("w3"))
        );
        assert_eq!(after(&["CLIENT SETNAME w1", "CLIENT SETNAME ''"]), said(None, None));
        assert_eq!(after(&["CLIENT ID", "HELLO", "HELLO 3", "READONLY", "HELLO 3 AUTH"]), said(None, None));
        let others = ["CLIENT NO-EVICT ON", "CLIENT SETINFO SETNAME x", "HELLO 3 NAME x"];
        assert_eq!(after(&others), said(None, None));
    }

    #[test]
    fn no_more_is_kept_than_is_told() {
        let (_, name) = after(&[&format!("CLIENT SETNAME {}", "n".repeat(10_000))]);
        assert_eq!(name.map(|name| name.len()), Some(super::CHARS_MAX));
    }
}
