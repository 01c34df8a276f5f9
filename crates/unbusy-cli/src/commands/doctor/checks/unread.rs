//! What the server would not tell.

use super::super::finding::Finding;
use super::super::reading::Facts;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let of = |refusal: &super::super::reading::Refusal| {
        Finding::note("not read", format!("{}: {}", refusal.question, refusal.reason))
            .because("what depends on it was not examined")
            .cured_by("a user with +info +config|get +slowlog|get +latency|latest +client|list, where the service allows these")
    };
    facts.refused.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{facts, severities};
    use super::*;
    use crate::commands::doctor::reading::Refusal;

    #[test]
    fn a_refusal_is_told() {
        let mut facts = facts(&[], "");
        assert!(check(&facts).is_empty());
        facts
            .refused
            .push(Refusal { question: "CONFIG GET timeout".to_owned(), reason: "NOPERM no".to_owned() });
        assert_eq!(severities(&check(&facts)), ["note"]);
        assert_eq!(check(&facts)[0].seen, "CONFIG GET timeout: NOPERM no");
    }
}
