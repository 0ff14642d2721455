//! The operator: the roles held, and who takes the decisions.
//!
//! With `ask` a person confirms the steps that are judgement (2, 4, 9 and 14) at the terminal, and the time that takes
//! counts, as it would on the day. How a question is put and what counts as an answer is in `operator/dialogue.rs`; what is
//! asked is in `recovery/questions.rs`.

use std::{collections::HashSet, sync::Arc};

use reports::{Role, Step};
use rustix::termios::{QueueSelector, tcflush};

mod dialogue;

/// Who decides.
#[derive(Clone)]
pub enum OperatorMode {
    /// Decisions follow from what was found.
    Auto,
    /// A person confirms them, at this terminal.
    Ask(Arc<dyn Terminal>),
}

/// The other output at the terminal where a person is asked: it is held back during a question.
pub trait Terminal: Send + Sync {
    /// Writes everything that belongs before a question, and then nothing until [`Terminal::resume`].
    fn suspend(&self);
    /// Writes what has come in since, and goes on.
    fn resume(&self);
    /// How many columns it has.
    fn columns(&self) -> usize;
}

/// A decision that a person takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The step that waits for it.
    pub step: Step,
    /// What is known and bears on it, a remark each.
    pub known: Vec<String>,
    /// The question itself; yes and no are answers to it.
    pub asks: String,
    /// What a yes leads to.
    pub yes: String,
    /// What a no leads to.
    pub no: String,
}

/// The operator on duty.
#[derive(Clone)]
pub struct Operator {
    mode: OperatorMode,
    roles: HashSet<Role>,
    drill: String,
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
            drill: String::new(),
        }
    }

    /// The same, whose questions name this drill: several may ask at one terminal.
    #[must_use]
    pub fn in_drill(self, name: &str) -> Self {
        Self {
            drill: name.to_owned(),
            ..self
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

    /// Puts a question to whoever decides. From a person, anything but a yes is a no, the end of input included.
    pub async fn decides(&self, question: Question) -> bool {
        let OperatorMode::Ask(terminal) = &self.mode else {
            return true;
        };
        let (terminal, drill) = (Arc::clone(terminal), self.drill.clone());
        let (answer, answered) = tokio::sync::oneshot::channel();
        // Not a task of the runtime: an interrupted drill must not wait for somebody to press return.
        std::thread::spawn(move || {
            let _ = answer.send(asks(&question, &drill, &*terminal)); // the drill may have been interrupted
        });
        answered.await.unwrap_or(false)
    }
}

/// Asks at the process's own terminal, one question at a time whichever drill it is of.
fn asks(question: &Question, drill: &str, terminal: &dyn Terminal) -> bool {
    let mut keyboard = std::io::stdin().lock();
    terminal.suspend();
    let _ = tcflush(&keyboard, QueueSelector::IFlush); // what was typed before the question is no answer to it
    let yes = dialogue::ask_until_answered(
        question,
        drill,
        terminal.columns(),
        &mut keyboard,
        &mut std::io::stderr(),
    );
    terminal.resume();
    yes
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
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
