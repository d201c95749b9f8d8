//! The images that others make: which ones `docker-compose.yml` names, and what stands in for one that is
//! not to be had. Pure.
//!
//! The file names each by a variable and a pinned version: `${NATS_IMAGE:-nats:2.15.1-alpine}`. Where no
//! registry can be reached, an image of the same name with another tag may be on the machine.

/// An image that somebody else makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// The variable that names another one.
    pub(super) variable: String,
    /// The pinned one.
    pub(super) pinned: String,
}

/// The images of a file, in its order.
pub(super) fn of(file: &str) -> Vec<Image> {
    let named = file.lines().filter_map(|line| line.trim().strip_prefix("image: ${"));
    let parts = named.filter_map(|rest| rest.strip_suffix('}')?.split_once(":-"));
    let image = |(variable, pinned): (&str, &str)| Image {
        variable: variable.to_owned(),
        pinned: pinned.to_owned(),
    };
    parts.map(image).collect()
}

/// What stands in for an image: one of the same name. `here` are those of the machine, `name:tag`.
pub(super) fn stand_in<'a>(
    pinned: &str,
    mut here: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let name = |image: &str| image.rsplit_once(':').map_or(image.to_owned(), |it| it.0.to_owned());
    here.find(|image| name(image) == name(pinned) && !image.ends_with(":<none>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_of_others_is_named_by_a_variable_and_a_version() {
        let file = include_str!("../../../docker-compose.yml");
        let images = of(file);
        let names: Vec<_> = images.iter().map(|it| it.variable.as_str()).collect();
        assert_eq!(names, ["NATS_IMAGE", "POSTGRES_IMAGE", "COLLECTOR_IMAGE", "JAEGER_IMAGE"]);
        for Image { pinned, .. } in images {
            let (_, tag) = pinned.rsplit_once(':').unwrap();
            let version = tag.split('-').next().unwrap();
            assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{pinned}");
            assert!(version.contains('.'), "{pinned} moves along");
        }
    }

    #[test]
    fn a_stand_in_has_the_same_name() {
        let here = ["debian:bookworm-slim", "nats:<none>", "my/nats:2", "nats:2-alpine"];
        assert_eq!(stand_in("nats:2.15.1-alpine", here.into_iter()), Some("nats:2-alpine"));
        assert_eq!(stand_in("postgres:17.11-alpine", here.into_iter()), None);
    }
}
