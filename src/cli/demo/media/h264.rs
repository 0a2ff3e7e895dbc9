//! H.264 without compression: Baseline, every picture an IDR of one slice whose macroblocks are all I_PCM
//! (ITU-T H.264 §7.3). Trivial to write, every frame of the same length, and every browser with H.264 plays it. Pure.

/// Bytes of an I_PCM macroblock: 256 of luma, 64 of each chroma (§7.3.5).
pub(super) const MACROBLOCK: usize = 384;
/// Bytes of a macroblock that follows another: `mb_type` and its alignment, then the samples.
const FOLLOWING: usize = 2 + MACROBLOCK;
/// `mb_type` of I_PCM in an I slice (Table 7-11).
const I_PCM: u32 = 25;
/// NAL length field, NAL header, slice header with the first `mb_type`.
const PREFIX: usize = 4 + 1 + 4;

/// Bytes of a picture as an MP4 sample.
pub(super) const fn sample_size(macroblocks: usize) -> usize {
    PREFIX + MACROBLOCK + (macroblocks - 1) * FOLLOWING + 1
}

/// Where the samples of a macroblock begin in an MP4 sample.
pub(super) const fn macroblock_at(index: usize) -> usize {
    PREFIX + index * FOLLOWING
}

/// An MP4 sample with everything but the macroblocks' samples. These must never be 0 (limited-range video is
/// 16 or more): then no start code can occur, nothing has to be escaped, and every picture has the same length.
pub(super) fn frame(macroblocks: usize) -> Vec<u8> {
    let mut sample = vec![0; sample_size(macroblocks)];
    let nal_length = (sample.len() - 4) as u32;
    sample[..4].copy_from_slice(&nal_length.to_be_bytes());
    number(&mut sample, 0);
    let mut following = BitWriter::default();
    following.ue(I_PCM);
    let following = following.finish();
    for index in 1..macroblocks {
        sample[macroblock_at(index) - 2..][..2].copy_from_slice(&following);
    }
    if let Some(trailing) = sample.last_mut() {
        *trailing = 0x80;
    }
    sample
}

/// Writes the slice header of the n-th picture: consecutive IDR pictures differ in `idr_pic_id` (§7.4.3).
pub(super) fn number(sample: &mut [u8], n: usize) {
    let mut header = BitWriter::default();
    header.ue(0); // first_mb_in_slice
    header.ue(7); // slice_type: every slice is I
    header.ue(0); // pic_parameter_set_id
    header.bits(0, 4); // frame_num
    header.ue(n as u32 % 2); // idr_pic_id
    header.bits(0, 2); // no_output_of_prior_pics_flag, long_term_reference_flag
    header.ue(0); // slice_qp_delta
    header.ue(1); // disable_deblocking_filter_idc
    header.ue(I_PCM);
    sample[4] = 0x65; // IDR slice, reference
    sample[5..PREFIX].copy_from_slice(&header.finish());
}

/// The sequence parameter set (§7.3.2.1.1), NAL header included.
pub(super) fn sequence_parameters(macroblocks_wide: usize, macroblocks_high: usize) -> Vec<u8> {
    let mut set = BitWriter::default();
    set.bits(0x67, 8);
    set.bits(66, 8); // Baseline
    set.bits(0xc0, 8); // constrained
    set.bits(41, 8); // level 4.1: 50 Mbit/s
    set.ue(0); // seq_parameter_set_id
    set.ue(0); // log2_max_frame_num_minus4
    set.ue(2); // pic_order_cnt_type: output order is decoding order
    set.ue(1); // max_num_ref_frames
    set.bits(0, 1); // gaps_in_frame_num_value_allowed_flag
    set.ue(macroblocks_wide as u32 - 1);
    set.ue(macroblocks_high as u32 - 1);
    set.bits(0b11, 2); // frame_mbs_only_flag, direct_8x8_inference_flag
    set.bits(0b00, 2); // no cropping, no VUI
    set.bits(1, 1); // stop bit
    set.finish()
}

/// The picture parameter set (§7.3.2.2), NAL header included.
pub(super) fn picture_parameters() -> Vec<u8> {
    let mut set = BitWriter::default();
    set.bits(0x68, 8);
    set.ue(0); // pic_parameter_set_id
    set.ue(0); // seq_parameter_set_id
    set.bits(0b00, 2); // CAVLC, no field order
    set.ue(0); // num_slice_groups_minus1
    set.ue(0); // num_ref_idx_l0_default_active_minus1
    set.ue(0); // num_ref_idx_l1_default_active_minus1
    set.bits(0b000, 3); // no weighted prediction
    set.ue(0); // pic_init_qp_minus26
    set.ue(0); // pic_init_qs_minus26
    set.ue(0); // chroma_qp_index_offset
    set.bits(0b100, 3); // deblocking_filter_control_present_flag alone
    set.bits(1, 1); // stop bit
    set.finish()
}

/// Bits, the first one highest.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    fn bits(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }

    /// An unsigned Exp-Golomb code (§9.1); of 0 it is the signed one, too.
    fn ue(&mut self, value: u32) {
        let length = (value + 1).ilog2() + 1;
        self.bits(0, length - 1);
        self.bits(value + 1, length);
    }

    /// The bytes, filled up with zero bits.
    fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slice_headers_of_even_and_odd_pictures_have_the_same_length() {
        let mut sample = frame(2);
        assert_eq!(sample[4..PREFIX], [0x65, 0x88, 0x84, 0xa0, 0xd0]);
        number(&mut sample, 1);
        assert_eq!(sample[4..PREFIX], [0x65, 0x88, 0x82, 0x28, 0x34]);
        assert_eq!(sample[macroblock_at(1) - 2..macroblock_at(1)], [0x0d, 0x00]);
        assert_eq!(macroblock_at(1) + MACROBLOCK + 1, sample.len());
    }

    #[test]
    fn parameter_sets_need_no_emulation_prevention() {
        for set in [sequence_parameters(30, 17), picture_parameters()] {
            assert!(
                set.windows(3)
                    .all(|w| !(w[0] == 0 && w[1] == 0 && w[2] <= 3)),
                "{set:02x?}"
            );
        }
    }
}
