//! The image: there or pulled, and what is in it.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc, time::Duration};

use testcontainers::{GenericImage, bollard::Docker, runners::AsyncRunner as _};

use super::{
    Call, ContainerError, Containers, Exec, Limits, Sink,
    docker::{self, status},
};
use crate::errors::chain;
use crate::postgres::{
    Progress, Request, Storage, WorkDir, installation::parse_version, installed::REQUIRED_TOOLS, tool::keep,
};

/// Run in the image: prints the file that is named first, then what there is of PostgreSQL, a word and a value a line.
const LOOK: &str = r#"
cat "$1" || exit 1
server=$(command -v postgres || ls /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres /usr/local/bin/postgres 2>/dev/null | tail -n 1)
[ -n "$server" ] || { echo >&2 "no postgres in it"; exit 1; }
server=$(readlink -f "$server")
bindir=$(dirname "$server")
prefix=$(dirname "$bindir")
version=$("$server" --version)
echo "version $version"
echo "bindir $bindir"
major=$(echo "$version" | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
for share in "$prefix/share/postgresql" "$prefix/share" "/usr/share/postgresql/$major" /usr/share/postgresql /usr/share/pgsql; do
    if [ -f "$share/postgres.bki" ]; then echo "sharedir $share"; ls "$share/extension" | sed -n 's/^\(.*\)\.control$/extension \1/p'; break; fi
done
ls "$bindir" | sed 's/^/tool /'
"#;

/// How long looking may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// An image that drills can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// As it was asked for.
    pub(crate) name: String,
    /// Its id, `sha256:…`.
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) major: u32,
    pub(crate) bindir: PathBuf,
    pub(crate) sharedir: PathBuf,
    pub(crate) tools: BTreeSet<String>,
    pub(crate) extensions: BTreeSet<String>,
    pub(super) limits: Limits,
}

impl Image {
    /// As testcontainers wants it, which puts a colon between.
    pub(super) fn name_and_tag(&self) -> (&str, &str) {
        name_and_tag(&self.name)
    }
}

/// `host:5000/postgres:16` is `host:5000/postgres` and `16`; without a tag it is `latest`.
fn name_and_tag(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((image, tag)) if !tag.contains('/') => (image, tag),
        _ => (name, "latest"),
    }
}

/// The daemon and its version, if, by what it says of itself, it works on this machine's files and processes.
pub(super) async fn suitable() -> Result<(Docker, String), ContainerError> {
    let asked = docker::spawn(async {
        let client = docker::local_client().await?;
        let info = client.info().await.map_err(|error| chain(&error))?;
        Ok::<_, String>((client, info))
    });
    let no_docker = |complaint| ContainerError::NoDocker { complaint };
    let (client, info) = asked
        .await
        .map_err(|error| no_docker(error.to_string()))?
        .map_err(no_docker)?;
    let unsuitable = |why: &str| Err(ContainerError::Unsuitable { why: why.to_owned() });
    let options = info.security_options.unwrap_or_default();
    if options.iter().any(|option| option.contains("name=rootless")) {
        return unsuitable("it is a rootless one, in which the server's account is another inside than outside");
    }
    if options.iter().any(|option| option.contains("name=userns")) {
        return unsuitable("it remaps users, so the server's account is another inside than outside");
    }
    if info.os_type.is_some_and(|kind| kind != "linux") {
        return unsuitable("its containers are not Linux ones");
    }
    Ok((client, info.server_version.unwrap_or_default()))
}

/// The image of a request: as it is here, else pulled.
pub(super) async fn find(request: &Request, progress: &dyn Progress) -> Result<Image, ContainerError> {
    if let Some(image) = present(request).await? {
        return Ok(image);
    }
    let name = name_of(request);
    progress.step(&format!("pulling the image {name}"));
    pull(&name, request.major).await?;
    let gone = || ContainerError::Look {
        image: name.clone(),
        complaint: "it was pulled and is not there".to_owned(),
    };
    present(request).await?.ok_or_else(gone)
}

/// The image of a request, if it is here.
pub(super) async fn present(request: &Request) -> Result<Option<Image>, ContainerError> {
    let (docker, _) = suitable().await?;
    let name = name_of(request);
    match id_of(&docker, &name).await? {
        Some(id) => look(name, id, request.containers.limits.clone()).await.map(Some),
        None => Ok(None),
    }
}

fn name_of(request: &Request) -> String {
    let named = request.containers.image.clone();
    named.unwrap_or_else(|| format!("postgres:{}", request.major))
}

async fn id_of(docker: &Docker, name: &str) -> Result<Option<String>, ContainerError> {
    let (docker, asked) = (docker.clone(), name.to_owned());
    let inspected = docker::spawn(async move { docker.inspect_image(&asked).await });
    let look = |complaint| ContainerError::Look {
        image: name.to_owned(),
        complaint,
    };
    match inspected.await.map_err(|error| look(error.to_string()))? {
        Ok(found) => Ok(found.id),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(look(chain(&error))),
    }
}

async fn pull(name: &str, major: u32) -> Result<(), ContainerError> {
    let (image, tag) = name_and_tag(name);
    let image = GenericImage::new(image, tag);
    let pulled = docker::spawn(async move { image.pull_image().await.map(drop).map_err(|error| chain(&error)) });
    let failed = |complaint| ContainerError::NoImage {
        image: name.to_owned(),
        major,
        complaint,
    };
    pulled.await.map_err(|error| failed(error.to_string()))?.map_err(failed)
}

/// Looks into the image by way of a container, and sees that the container's files and processes are this machine's.
async fn look(name: String, id: String, limits: Limits) -> Result<Image, ContainerError> {
    let mut image = Image {
        name,
        id,
        version: String::new(),
        major: 0,
        bindir: PathBuf::new(),
        sharedir: PathBuf::new(),
        tools: BTreeSet::new(),
        extensions: BTreeSet::new(),
        limits,
    };
    let work = WorkDir::create(Storage::Disk, "image")?;
    let nonce = hex::encode(rand::random::<[u8; 8]>());
    let told = work.path().join("nonce");
    fs::write(&told, format!("nonce {nonce}\n")).map_err(|source| ContainerError::File {
        path: told.clone(),
        source,
    })?;
    work.user().chown(&told)?;
    let containers = Containers::new(&Arc::new(image.clone()), &work);
    let call = Call {
        argv: ["/bin/sh", "-c", LOOK, "look", &told.to_string_lossy()]
            .map(ToOwned::to_owned)
            .into(),
        environment: Vec::new(),
        current_dir: "/".to_owned(),
    };
    let (out, read_out) = tokio::io::duplex(64 * 1024);
    let (err, read_err) = tokio::io::duplex(64 * 1024);
    let mut exec = Exec::start(&containers, call, Sink::Pipe(out), Sink::Pipe(err));
    let complaint = |complaint: String| ContainerError::Look {
        image: image.name.clone(),
        complaint,
    };
    let looked = tokio::time::timeout(PATIENCE, async {
        tokio::join!(exec.wait(), keep(read_out), keep(read_err))
    });
    let (status, said, complained) = looked.await.map_err(|_| complaint("it takes too long".to_owned()))?;
    let status = status.map_err(|error| complaint(error.to_string()))?;
    if !said.contains(&nonce) {
        return Err(ContainerError::Unsuitable {
            why: format!(
                "its containers do not see this machine's {}: {}",
                told.display(),
                complained.trim()
            ),
        });
    }
    if !status.success() {
        return Err(complaint(complained.trim().to_owned()));
    }
    if !containers.tools_are_visible().await {
        return Err(ContainerError::Unsuitable {
            why: "its processes are not among those of this machine".to_owned(),
        });
    }
    read(&said, &mut image);
    let missing: Vec<String> = REQUIRED_TOOLS
        .into_iter()
        .filter(|tool| !image.tools.contains(*tool))
        .map(ToOwned::to_owned)
        .collect();
    if image.major == 0 || !missing.is_empty() {
        let image = image.name;
        return Err(ContainerError::Incomplete { image, missing });
    }
    Ok(image)
}

/// Takes in what [`LOOK`] printed.
fn read(said: &str, image: &mut Image) {
    for line in said.lines() {
        let Some((what, value)) = line.split_once(' ') else {
            continue;
        };
        match what {
            "version" => {
                if let Some((version, major)) = parse_version(value) {
                    (image.version, image.major) = (version, major);
                }
            }
            "bindir" => image.bindir = value.into(),
            "sharedir" => image.sharedir = value.into(),
            "tool" => drop(image.tools.insert(value.to_owned())),
            "extension" => drop(image.extensions.insert(value.to_owned())),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::name_and_tag;

    #[test]
    fn names_are_split_where_docker_splits_them() {
        assert_eq!(name_and_tag("postgres:16"), ("postgres", "16"));
        assert_eq!(
            name_and_tag("host:5000/db/postgres"),
            ("host:5000/db/postgres", "latest")
        );
        assert_eq!(
            name_and_tag("host:5000/postgres:16-bookworm"),
            ("host:5000/postgres", "16-bookworm")
        );
        assert_eq!(name_and_tag("postgres@sha256:abcd"), ("postgres@sha256", "abcd"));
    }
}
