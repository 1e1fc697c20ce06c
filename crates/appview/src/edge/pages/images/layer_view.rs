//! The layers of an image: how big each is and which command made it.

use atcr_oci::Manifest;
use atcr_web::drawings::Bar;
use atcr_web::figures::{Bytes, percent};

use super::RepositoryVisit;
use super::image::blob_view;
use super::views::DigestView;
use crate::browse::config::ImageConfig;

/// A layer of an image.
pub(super) struct LayerView {
    pub(super) number: usize,
    pub(super) size: Bytes,
    pub(super) percent: u64,
    pub(super) bar: Bar,
    pub(super) digest: DigestView,
    pub(super) command: Option<String>,
}

pub(super) fn layers(
    page: &RepositoryVisit<'_>,
    manifest: &Manifest,
    config: Option<&ImageConfig>,
) -> Vec<LayerView> {
    let layers = manifest.layers();
    let total = layers
        .iter()
        .fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    let commands = config.map_or_else(
        || vec![None; layers.len()],
        |config| config.commands(layers.len()),
    );
    layers
        .iter()
        .zip(commands)
        .enumerate()
        .map(|(index, (layer, command))| LayerView {
            number: index + 1,
            size: Bytes(layer.size),
            percent: percent(layer.size, total),
            bar: Bar {
                part: layer.size,
                whole: total,
            },
            digest: blob_view(page, &layer.digest),
            command: command.map(str::to_owned),
        })
        .collect()
}

/// The number of the layer that is bigger than all others together are on average, if one stands out.
pub(super) fn biggest(sizes: &[u64]) -> Option<usize> {
    let (index, size) = sizes.iter().enumerate().max_by_key(|(_, size)| **size)?;
    (sizes.len() > 2
        && percent(
            *size,
            sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(*size)),
        ) >= 40)
        .then_some(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_layer_that_stands_out_is_named() {
        assert_eq!(biggest(&[10, 90, 20]), Some(2));
        assert_eq!(biggest(&[10, 10, 10]), None);
        assert_eq!(biggest(&[10, 90]), None);
        assert_eq!(biggest(&[]), None);
    }
}
