//! Every run ends once the scripts are over, whatever its schedule: nobody tries again and again, and nobody waits for ever.
//! That all are answered then, `holds.rs` tells.
use model::explore::circle;
use model::model::State;
use model::setting::Kind::{self, Exec, Multi, Plain, Watch};
use model::setting::{Rules, Setting};

const ONE: &[Kind] = &[Plain];
const TWO: &[Kind] = &[Plain, Plain];

fn ends(setting: &Setting) {
    let quiet = |state: &State| state.server.script.is_none() && state.server.begun == setting.scripts;
    assert_eq!(circle(setting, quiet), None);
}

#[test]
fn once_the_scripts_are_over() {
    let real = |clients| Setting::new(Rules::REAL, clients);
    ends(&real(&[&[Plain, Plain, Plain]]).with_scripts(2));
    ends(&real(&[TWO, ONE]));
    ends(&Setting { leaving: 1, ..real(&[TWO, ONE]) });
    ends(&Setting { long_line: true, ..real(&[TWO, ONE]) });
    ends(&real(&[&[Plain, Multi, Plain, Exec, Plain]]).with_scripts(2));
    ends(&real(&[&[Watch, Multi, Plain, Exec]]).with_scripts(2));
}

/// The search finds circles where there are some: the leader tries for as long as a script runs.
#[test]
fn but_not_before() {
    assert!(circle(&Setting::new(Rules::REAL, &[ONE]), |_| true).is_some());
}
