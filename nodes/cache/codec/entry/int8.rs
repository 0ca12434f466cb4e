//! Bytes that a scale turns into values again.
use crate::cache::codec::Scale;
use crate::data::entry::Entry;

/// Returns the number of scales.
fn scales(frames: usize, width: usize, scale: Scale) -> usize {
    match scale {
        Scale::Frame => frames,
        Scale::Channel if frames == 0 => 0,
        Scale::Channel => width,
    }
}

pub(super) fn encode(entry: &Entry, width: usize, scale: Scale) -> Vec<u8> {
    let values = &entry.values;
    let mut greatest = vec![0f32; scales(entry.frames as usize, width, scale)];
    for (frame, values) in values.chunks_exact(width.max(1)).enumerate() {
        for (channel, value) in values.iter().enumerate() {
            let greatest = match scale {
                Scale::Frame => &mut greatest[frame],
                Scale::Channel => &mut greatest[channel],
            };
            *greatest = greatest.max(value.abs());
        }
    }
    let scales: Vec<f32> = greatest.iter().map(|x| x / 127.0).collect();
    let mut bytes: Vec<u8> = scales
        .iter()
        .flat_map(|scale| scale.to_le_bytes())
        .collect();
    for (frame, values) in values.chunks_exact(width.max(1)).enumerate() {
        for (channel, value) in values.iter().enumerate() {
            let scale = match scale {
                Scale::Frame => scales[frame],
                Scale::Channel => scales[channel],
            };
            // The greatest of all values may be so small that its scale is 0.
            let steps = if scale > 0.0 { value / scale } else { 0.0 };
            bytes.push(steps.round().clamp(-127.0, 127.0) as i8 as u8);
        }
    }
    bytes
}

pub(super) fn decode(bytes: &[u8], frames: usize, width: usize, scale: Scale) -> Vec<f32> {
    let (scale_bytes, steps) = bytes.split_at(4 * scales(frames, width, scale));
    let (words, _) = scale_bytes.as_chunks::<4>();
    let scales: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    let mut values = Vec::with_capacity(steps.len());
    for (frame, steps) in steps.chunks_exact(width.max(1)).enumerate() {
        match scale {
            Scale::Frame => {
                let scale = scales[frame];
                values.extend(steps.iter().map(|&step| f32::from(step as i8) * scale));
            }
            Scale::Channel => {
                let pairs = steps.iter().zip(&scales);
                values.extend(pairs.map(|(&step, scale)| f32::from(step as i8) * scale));
            }
        }
    }
    values
}
