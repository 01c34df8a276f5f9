//! Ends a child process when the test that started it dies in any way, even by SIGKILL.

use std::process::{Child, Command, Stdio};

/// A tiny shell that holds the read end of a pipe of ours: when we are gone it reads the end of file and kills the
/// child.
///
/// The kernel's own means, `PR_SET_PDEATHSIG`, must be set in the child between fork and exec, which needs `unsafe`,
/// and it fires when the *thread* that started the child ends, which is wrong for a server shared by several tests.
#[derive(Debug)]
pub(crate) struct Leash(Child);

impl Leash {
    pub(crate) fn on(child: &Child) -> Self {
        // A runner that gives up signals the whole process group first: the shell must live through that.
        let script = format!("trap '' INT TERM HUP; read _; kill -9 {}", child.id());
        let guard = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot start `sh`");
        Self(guard)
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // The guard goes before the child is reaped, so that it can never hit another process with the same id.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A child that dies with its owner, in the orderly case as in the other.
#[derive(Debug)]
pub struct OwnedChild {
    leash: Option<Leash>,
    child: Child,
}

impl OwnedChild {
    /// Starts the command.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", command.get_program().display()));
        Self { leash: Some(Leash::on(&child)), child }
    }

    pub(crate) fn get(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        drop(self.leash.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command};

    use super::Leash;

    #[test]
    fn a_child_dies_when_the_pipe_of_its_owner_ends() {
        let mut child = Command::new("sleep").arg("600").spawn().expect("sleep");
        let mut leash = Leash::on(&child);
        drop(leash.0.stdin.take());
        assert_eq!(child.wait().expect("a child").signal(), Some(9));
    }
}
