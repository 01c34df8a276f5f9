//! One thing that a check has seen.

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// Costs something, or will under some conditions.
    Warning,
    /// Will do harm when a script runs for long.
    Problem,
}

impl Severity {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// What was looked at.
    pub(super) about: &'static str,
    /// With numbers.
    pub(super) seen: String,
    pub(super) why: Option<String>,
    /// A command, or what else to do.
    pub(super) cure: Option<String>,
}

impl Finding {
    pub(super) fn new(severity: Severity, about: &'static str, seen: impl Into<String>) -> Self {
        Self { severity, about, seen: seen.into(), why: None, cure: None }
    }

    pub(super) fn ok(about: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Ok, about, seen)
    }

    pub(super) fn note(about: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Note, about, seen)
    }

    pub(super) fn warning(about: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Warning, about, seen)
    }

    pub(super) fn problem(about: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Problem, about, seen)
    }

    pub(super) fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    pub(super) fn cured_by(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }
}
