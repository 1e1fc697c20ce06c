//! The commands that pull an image: by tag and by digest, for each client.

/// What an image is to the clients that pull it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pullable {
    /// A container image.
    Image,
    /// A Helm chart.
    Chart,
    /// Files.
    Files,
    /// A build cache.
    Cache,
}

/// An image and how it is named.
#[derive(Clone, Debug)]
pub struct PullTarget<'a> {
    /// `registry.example.com/alice.example/app`.
    pub repository: &'a str,
    /// The tag, if one is pulled.
    pub tag: Option<&'a str>,
    /// The digest, if known.
    pub digest: Option<&'a str>,
    /// What it is.
    pub kind: Pullable,
    /// The registry speaks plain HTTP, as in a network for development: most clients have to be told.
    pub is_plain_http: bool,
}

/// A client that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// In the page and in what browsers remember.
    pub id: &'static str,
    /// For people.
    pub name: &'static str,
}

/// A command, and the choice that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullCommand {
    /// Its client.
    pub client: &'static str,
    /// `tag` or `digest`.
    pub by: &'static str,
    /// The command.
    pub text: String,
}

/// All commands of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullCommands {
    /// The clients, the usual one first.
    pub clients: Vec<Client>,
    /// The commands.
    pub commands: Vec<PullCommand>,
    /// The tag, if one is pulled.
    pub tag: Option<String>,
    /// There are commands by digest.
    pub has_digest: bool,
}

const DOCKER: Client = Client::new("docker", "docker");
const PODMAN: Client = Client::new("podman", "podman");
const SKOPEO: Client = Client::new("skopeo", "skopeo");
const HELM: Client = Client::new("helm", "helm");
const ORAS: Client = Client::new("oras", "oras");
const KUBERNETES: Client = Client::new("kubernetes", "Kubernetes");
const COMPOSE: Client = Client::new("compose", "compose");
const BUILDX: Client = Client::new("buildx", "docker buildx");

impl Client {
    const fn new(id: &'static str, name: &'static str) -> Self {
        Self { id, name }
    }
}

/// Every client that can be chosen.
pub const CLIENTS: [Client; 8] = [DOCKER, PODMAN, SKOPEO, KUBERNETES, COMPOSE, HELM, ORAS, BUILDX];

impl PullCommands {
    /// The commands for `target`.
    #[must_use]
    pub fn new(target: &PullTarget<'_>) -> Self {
        let clients = match target.kind {
            Pullable::Image => vec![DOCKER, PODMAN, SKOPEO, KUBERNETES, COMPOSE],
            Pullable::Chart => vec![HELM, ORAS],
            Pullable::Files => vec![ORAS, SKOPEO],
            Pullable::Cache => vec![BUILDX],
        };
        let (repository, tag) = (target.repository, target.tag);
        let by_tag = tag.map(|tag| ("tag", format!("{repository}:{tag}"), Some(tag)));
        let by_digest = target
            .digest
            .map(|digest| ("digest", format!("{repository}@{digest}"), None));
        let references: Vec<_> = by_tag.into_iter().chain(by_digest).collect();
        let of_client = |client: &Client| {
            let client = *client;
            references.iter().map(move |(by, reference, tag)| PullCommand {
                client: client.id,
                by,
                text: command(client, target, reference, *tag),
            })
        };
        Self {
            commands: clients.iter().flat_map(of_client).collect(),
            clients,
            tag: tag.map(str::to_owned),
            has_digest: target.digest.is_some(),
        }
    }
}

fn command(client: Client, target: &PullTarget<'_>, reference: &str, tag: Option<&str>) -> String {
    let plain = |flag: &'static str| if target.is_plain_http { flag } else { "" };
    let name = target.repository.rsplit('/').next().unwrap_or("app");
    match client.id {
        "podman" => format!("podman pull {}{reference}", plain("--tls-verify=false ")),
        "skopeo" => format!(
            "skopeo copy {}docker://{reference} oci:{name}{}",
            plain("--src-tls-verify=false "),
            tag.map(|tag| format!(":{tag}")).unwrap_or_default(),
        ),
        "helm" => match tag {
            // Helm keeps the `+` of a version as `_` in the tag.
            Some(tag) => format!(
                "helm pull {}oci://{} --version {}",
                plain("--plain-http "),
                target.repository,
                tag.replace('_', "+"),
            ),
            None => format!("helm pull {}oci://{reference}", plain("--plain-http ")),
        },
        "oras" => format!("oras pull {}{reference}", plain("--plain-http ")),
        "kubernetes" => format!("containers:\n  - name: {name}\n    image: {reference}"),
        "compose" => format!("services:\n  {name}:\n    image: {reference}"),
        "buildx" => format!("docker buildx build --cache-from type=registry,ref={reference} ."),
        _ => format!("docker pull {reference}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(kind: Pullable, is_plain_http: bool) -> Vec<String> {
        let target = PullTarget {
            repository: "r.example/alice.example/tools/app",
            tag: Some("1.4_b1"),
            digest: Some("sha256:ab"),
            kind,
            is_plain_http,
        };
        let commands = PullCommands::new(&target).commands;
        commands.into_iter().map(|command| command.text).collect()
    }

    #[test]
    fn every_client_gets_a_whole_command_by_tag_and_by_digest() {
        assert_eq!(
            commands(Pullable::Image, false),
            [
                "docker pull r.example/alice.example/tools/app:1.4_b1",
                "docker pull r.example/alice.example/tools/app@sha256:ab",
                "podman pull r.example/alice.example/tools/app:1.4_b1",
                "podman pull r.example/alice.example/tools/app@sha256:ab",
                "skopeo copy docker://r.example/alice.example/tools/app:1.4_b1 oci:app:1.4_b1",
                "skopeo copy docker://r.example/alice.example/tools/app@sha256:ab oci:app",
                "containers:\n  - name: app\n    image: r.example/alice.example/tools/app:1.4_b1",
                "containers:\n  - name: app\n    image: r.example/alice.example/tools/app@sha256:ab",
                "services:\n  app:\n    image: r.example/alice.example/tools/app:1.4_b1",
                "services:\n  app:\n    image: r.example/alice.example/tools/app@sha256:ab",
            ]
        );
        assert_eq!(
            commands(Pullable::Chart, true)[0],
            "helm pull --plain-http oci://r.example/alice.example/tools/app --version 1.4+b1"
        );
        assert_eq!(
            commands(Pullable::Cache, false)[0],
            "docker buildx build --cache-from type=registry,ref=r.example/alice.example/tools/app:1.4_b1 ."
        );
    }

    #[test]
    fn without_a_tag_no_command_names_one() {
        let target = PullTarget {
            repository: "r.example/alice.example/app",
            tag: None,
            digest: Some("sha256:ab"),
            kind: Pullable::Image,
            is_plain_http: false,
        };
        let commands = PullCommands::new(&target).commands;
        assert!(
            commands
                .iter()
                .all(|command| command.by == "digest" && command.text.contains("@sha256:ab"))
        );
    }
}
