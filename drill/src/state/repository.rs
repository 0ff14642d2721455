//! The repository is never written to: noted once the backups are taken and whenever something is broken on purpose, looked at
//! before that, after each restore and at the end. A difference that no fault made fails `isolation`, and with it the drill.

use reports::{CheckId, Phase, Verdict, What, text::counted};

use super::{DrillError, Estate};
use crate::{
    backup::{BackupError, untouched::Untouched},
    record::check::{Found, first_few, timed},
};

const EXPECTED: &str = "the repository is as it was: nothing is written to where the backups are";

impl Estate {
    /// Notes what the repository holds now.
    ///
    /// # Errors
    /// If it cannot be listed.
    pub fn note_repository(&mut self) -> Result<(), DrillError> {
        let noted = Untouched::note(&self.site.repository, self.untouched.take());
        self.untouched = Some(noted.map_err(|source| self.not_listed(source))?);
        Ok(())
    }

    /// After a restore.
    pub async fn look_at_repository(&self) {
        let Some(untouched) = &self.untouched else { return };
        let (differences, looked) = (untouched.differences(), "types, modes, sizes and times");
        self.repository_looked_at(Phase::Restored, differences, looked).await;
    }

    /// Before something is broken on purpose that may be of the repository: nothing is told unless there is something to tell.
    pub async fn look_at_repository_before_a_fault(&self) {
        let Some(untouched) = &self.untouched else { return };
        if !untouched.differences().is_ok_and(|found| found.is_empty()) {
            self.look_at_repository().await;
        }
    }

    /// At the end, with what the files hold.
    pub async fn look_at_repository_at_the_end(&mut self) {
        let Some(untouched) = self.untouched.take() else { return };
        let began = self.site.recorder.offset();
        let (differences, read) = match untouched.all_differences().await {
            Ok((differences, read)) => (Ok(differences), read),
            Err(error) => (Err(error), 0),
        };
        let looked = format!(
            "types, modes, sizes and times, and the content of {}",
            counted(read, "file")
        );
        self.site.recorder.external_since("compare the repository", began);
        self.repository_looked_at(Phase::AfterCutover, differences, &looked)
            .await;
    }

    async fn repository_looked_at(&self, phase: Phase, found: std::io::Result<Vec<String>>, looked: &str) {
        let check = timed(CheckId::Isolation, phase, "repository", async {
            let differences = found.map_err(|source| self.not_listed(source))?;
            let actual = if differences.is_empty() {
                format!("as it was: {looked}")
            } else {
                first_few(&differences)
            };
            Ok::<_, DrillError>(Found::judge(differences.is_empty(), EXPECTED, actual))
        });
        let check = check.await;
        if check.verdict == Verdict::Fail {
            let text = format!("The backups were written to, and no fault did it: {}.", check.actual);
            self.site.recorder.finding(text);
        }
        self.site.recorder.record(What::CheckFinished(check));
    }

    fn not_listed(&self, source: std::io::Error) -> DrillError {
        DrillError::Backup(BackupError::Io {
            action: "list the backup repository",
            path: self.site.repository.clone(),
            source,
        })
    }
}
