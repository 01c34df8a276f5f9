//! Running other programs, and saying which one failed.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// A command that runs in the root of the repository.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that runs us.
pub(crate) fn cargo(args: &[&str]) -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args)
}

/// Runs a command, its output going where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run `{}`", line(command)))?;
    ensure!(status.success(), "`{}` failed ({status})", line(command));
    Ok(())
}

/// Runs a command and returns what it printed; its error output is shown only if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run `{}`", line(command)))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{}` failed ({}):\n{}",
        line(command),
        output.status,
        errors.trim_end()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a command can be run and succeeds.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Where PATH finds a program.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The target directory.
pub(crate) fn target() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where xtask lies")?;
    let target = own.parent().and_then(Path::parent).context("xtask lies in no target directory")?;
    Ok(target.to_owned())
}

/// The packages that are tested in Rust, as cargo is told of them; those of the Python package are a step of their own. Whoever
/// wants what the tests have built names the same, or features differ, and all of it is compiled once more.
pub(crate) const TESTED: [&str; 4] = ["--workspace", "--exclude", "unbusy-python", "--all-features"];

/// A program of this workspace, in the same target directory as this one.
pub(crate) fn built(profile: &str, program: &str) -> Result<PathBuf> {
    Ok(target()?.join(profile).join(program))
}

/// The command `unbusy` without optimizations, built just as the tests build it: with other features all that it depends on would
/// be compiled once more.
pub(crate) fn unbusy_for_tests() -> Result<PathBuf> {
    let args = [&["test", "--quiet", "--no-run", "--test", "proxy"], TESTED.as_slice()].concat();
    run(&mut cargo(&args))?;
    built("debug", "unbusy")
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        value.map(|value| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
    });
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy().into_owned());
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

/// The pinned binaries are built for this platform only.
pub(crate) fn is_linux_x86_64() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
}
