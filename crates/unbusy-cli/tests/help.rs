//! What the command says about itself.
mod common;

use common::{outcome, unbusy};

fn help(args: &[&str]) -> String {
    let (code, output, errors) = outcome(&mut unbusy(args));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    output
}

#[test]
fn of_the_whole() {
    let text = help(&["--help"]);
    insta::assert_snapshot!(text);
}

#[test]
fn of_the_proxy() {
    let text = help(&["proxy", "--help"]);
    insta::assert_snapshot!(text);
}

#[test]
fn of_run() {
    let text = help(&["run", "--help"]);
    insta::assert_snapshot!(text);
}

#[test]
fn of_status() {
    let text = help(&["status", "--help"]);
    insta::assert_snapshot!(text);
}

#[test]
fn of_top() {
    let text = help(&["top", "--help"]);
    insta::assert_snapshot!(text);
}

#[test]
fn of_kill() {
    let text = help(&["kill", "--help"]);
    insta::assert_snapshot!(text);
}

#[test]
fn of_doctor() {
    let text = help(&["doctor", "--help"]);
    insta::assert_snapshot!(text);
}

#[test]
fn the_word_help_is_the_option_help() {
    assert_eq!(help(&["help", "proxy"]), help(&["proxy", "--help"]));
}

#[test]
fn the_version() {
    assert_eq!(help(&["--version"]), format!("unbusy {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn no_command_is_a_mistake() {
    assert_eq!(outcome(&mut unbusy(&[])).0, Some(2));
}
