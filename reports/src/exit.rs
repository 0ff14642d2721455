//! Exit codes of `drill`, as constants with their meaning.
//!
//! Scripts and CI jobs rely on them; they follow the verdict of a run (see [`crate::RunEvidence::exit_code`]).

use crate::Verdict;

/// Every drill ended as expected, and everything that had to be verified was.
pub const AS_EXPECTED: u8 = 0;
/// At least one drill ended otherwise than its scenario expects. Stands even if another could not be verified.
pub const NOT_AS_EXPECTED: u8 = 1;
/// The command line or a scenario is wrong; nothing was run. Never follows from evidence.
pub const USAGE: u8 = 2;
/// A drill could not be carried out, or could not be verified, and none ended otherwise than expected.
pub const NOT_VERIFIED: u8 = 3;

/// The exit code of a run with this verdict: `Pass` 0, `Fail` 1, `Unknown` 3.
pub fn code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => AS_EXPECTED,
        Verdict::Fail => NOT_AS_EXPECTED,
        Verdict::Unknown => NOT_VERIFIED,
    }
}
