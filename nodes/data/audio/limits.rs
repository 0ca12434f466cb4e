//! Holds what a header claims against what is possible, before a decoder allocates memory by it.
use crate::Result;
use symphonia::core::codecs::audio::AudioCodecParameters;

/// The most channels; a header with more is damaged.
const MAX_CHANNELS: usize = 256;

/// The most frames of a packet: no codec has longer ones.
const MAX_PACKET_FRAMES: u64 = 1 << 16;

/// Checks the numbers that sizes of buffers follow from.
pub(super) fn check(parameters: &AudioCodecParameters) -> Result<()> {
    let channels = parameters
        .channels
        .as_ref()
        .map_or(1, |channels| channels.count());
    if !(1..=MAX_CHANNELS).contains(&channels) {
        return Err(format!("it has {channels} channels, not 1 to {MAX_CHANNELS}").into());
    }
    let frames = parameters.max_frames_per_packet.unwrap_or(0);
    if frames > MAX_PACKET_FRAMES {
        let message = format!(
            "it is damaged: a packet of {frames} samples, at most {MAX_PACKET_FRAMES} are possible"
        );
        return Err(message.into());
    }
    Ok(())
}
