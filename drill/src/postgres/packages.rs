//! How the distribution at hand installs what a drill may need, so that an error can name a package that exists.

use std::{fs, path::Path};

/// Something that a drill may need of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// Server and client programs of a major version.
    PostgreSql(u32),
    /// Fetches the embedded PostgreSQL.
    Pip,
    /// Adds contrib modules to it.
    Npm,
    /// Runs containers.
    Docker,
    /// Steps a server's clock.
    LibFakeTime,
}

/// A family of distributions: how `ID` or `ID_LIKE` of os-release names it, how it installs, and its names for pip, npm, Docker.
const FAMILIES: [(&str, &str, [&str; 3]); 6] = [
    ("debian", "apt-get install", ["python3-pip", "npm", "docker.io"]),
    ("ubuntu", "apt-get install", ["python3-pip", "npm", "docker.io"]),
    ("fedora", "dnf install", ["python3-pip", "nodejs-npm", "moby-engine"]),
    ("alpine", "apk add", ["py3-pip", "npm", "docker"]),
    ("arch", "pacman -S", ["python-pip", "npm", "docker"]),
    ("suse", "zypper install", ["python3-pip", "npm", "docker"]),
];

/// Which PostgreSQL a distribution has of its own: `ID`, `VERSION_ID`, major version.
const OWN_POSTGRESQL: [(&str, &str, u32); 6] = [
    ("debian", "11", 13),
    ("debian", "12", 15),
    ("debian", "13", 17),
    ("ubuntu", "22.04", 14),
    ("ubuntu", "24.04", 16),
    ("ubuntu", "25.10", 17),
];

/// How to install it here: `apt-get install python3-pip`.
pub fn how_to_install(package: Package) -> String {
    let places = ["/etc/os-release", "/usr/lib/os-release"];
    let release = places
        .iter()
        .find_map(|place| fs::read_to_string(Path::new(place)).ok());
    advice(package, &release.unwrap_or_default())
}

fn advice(package: Package, release: &str) -> String {
    let field = |name: &str| {
        let line = release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let (id, version, like) = (field("ID"), field("VERSION_ID"), field("ID_LIKE"));
    let names = [id.as_str()].into_iter().chain(like.split(' ')).collect::<Vec<_>>();
    let family = FAMILIES
        .iter()
        .find(|(family, ..)| names.iter().any(|name| name == family || name.starts_with(family)));
    let Some((family, install, [pip, npm, docker])) = family else {
        return match package {
            Package::PostgreSql(major) => {
                format!("PostgreSQL {major}'s server and client programs, by your package manager")
            }
            Package::Pip => "Python's pip, by your package manager".to_owned(),
            Package::Npm => "Node's npm, by your package manager".to_owned(),
            Package::Docker => "Docker, by your package manager".to_owned(),
            Package::LibFakeTime => "libfaketime, by your package manager".to_owned(),
        };
    };
    let major = match package {
        Package::Pip => return format!("{install} {pip}"),
        Package::Npm => return format!("{install} {npm}"),
        Package::Docker => return format!("{install} {docker}"),
        Package::LibFakeTime => return format!("{install} libfaketime"),
        Package::PostgreSql(major) => major,
    };
    let own = OWN_POSTGRESQL
        .iter()
        .find(|(name, at, _)| *name == id && *at == version);
    let is_apt = ["debian", "ubuntu"].contains(family);
    match own {
        Some((.., own)) if *own == major => format!("{install} postgresql-{major}"),
        Some((.., own)) => format!(
            "{id} {version} itself has PostgreSQL {own}; with the repository that postgresql.org/download describes, \
             {install} postgresql-{major}"
        ),
        None if is_apt => {
            format!("{install} postgresql-{major}, with the repository that postgresql.org/download describes")
        }
        None => format!("PostgreSQL {major}'s server and contrib as postgresql.org/download describes for {id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_as_the_distribution_names_it() {
        let bookworm = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";
        let noble = "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n";
        let rocky = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\n";
        assert_eq!(advice(Package::Pip, bookworm), "apt-get install python3-pip");
        assert_eq!(
            advice(Package::PostgreSql(15), bookworm),
            "apt-get install postgresql-15"
        );
        let other = advice(Package::PostgreSql(16), bookworm);
        assert!(
            other.starts_with("debian 12 itself has PostgreSQL 15; with the repository"),
            "{other}"
        );
        assert_eq!(advice(Package::PostgreSql(16), noble), "apt-get install postgresql-16");
        assert_eq!(advice(Package::Docker, rocky), "dnf install moby-engine");
        assert_eq!(advice(Package::Npm, "ID=alpine\n"), "apk add npm");
        assert_eq!(advice(Package::Pip, ""), "Python's pip, by your package manager");
    }
}
