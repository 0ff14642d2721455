//! Who carries the recovery out: the roles held, and who takes the decisions.
//!
//! With `ask` a person confirms the steps that are judgement (2, 4, 9 and 14) at the terminal, and the time that takes
//! counts, as it would on the day.

use std::{
    collections::HashSet,
    io::{BufRead as _, Write as _},
};

use reports::Role;

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorMode {
    /// Decisions follow from what was found.
    Auto,
    /// A person confirms them.
    Ask,
}

/// The operator on duty.
#[derive(Debug, Clone)]
pub struct Operator {
    mode: OperatorMode,
    roles: HashSet<Role>,
}

impl Operator {
    /// An operator who holds every role that a recovery needs.
    pub fn new(mode: OperatorMode) -> Self {
        Self::with_roles(mode, [Role::RecoveryOperator, Role::AppAdmin, Role::Validator])
    }

    /// An operator who holds just these roles.
    pub fn with_roles(mode: OperatorMode, roles: impl IntoIterator<Item = Role>) -> Self {
        Self {
            mode,
            roles: roles.into_iter().collect(),
        }
    }

    /// Whether the operator may act as `role`.
    ///
    /// # Errors
    /// The refusal, in words.
    pub fn authorise(&self, role: Role) -> Result<(), String> {
        if self.roles.contains(&role) {
            Ok(())
        } else {
            Err(format!("not authorised: the operator does not hold the role {role}"))
        }
    }

    /// Puts a question to whoever decides; anything but a yes is a no.
    pub async fn decides(&self, question: &str) -> bool {
        if self.mode == OperatorMode::Auto {
            return true;
        }
        let question = question.to_owned();
        let (answer, answered) = tokio::sync::oneshot::channel();
        // Not a task of the runtime: an interrupted drill must not wait for somebody to press return.
        std::thread::spawn(move || {
            let _ = answer.send(ask(&question)); // the drill may have been interrupted
        });
        answered.await.unwrap_or(false)
    }
}

fn ask(question: &str) -> bool {
    let mut terminal = std::io::stderr().lock();
    let asked = write!(terminal, "\n{question} [y/N] ").and_then(|()| terminal.flush());
    drop(terminal);
    let mut answer = String::new();
    asked
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer))
        .is_ok()
        && matches!(answer.trim(), "y" | "Y" | "yes")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use reports::Role;

    use super::{Operator, OperatorMode};

    #[test]
    fn a_role_that_is_not_held_is_refused_by_name() {
        let operator = Operator::with_roles(OperatorMode::Auto, [Role::AppAdmin]);
        assert!(operator.authorise(Role::AppAdmin).is_ok());
        let refusal = operator.authorise(Role::RecoveryOperator).unwrap_err();
        assert!(refusal.contains("RecoveryOperator"), "{refusal}");
    }
}
