//! The head of an MP4 file with one H.264 track of samples that are all of one length: `ftyp`, `moov` and the
//! beginning of `mdat`, so that a player can start before it has the rest (ISO/IEC 14496-12 and -15). Pure.

/// What the head has to say of the track.
pub(super) struct Track<'a> {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) frames_per_second: u32,
    pub(super) frames: u32,
    pub(super) sample_size: u32,
    pub(super) sequence_parameters: &'a [u8],
    pub(super) picture_parameters: &'a [u8],
}

/// Ticks per second of movie and track, a multiple of the common frame rates.
const TIMESCALE: u32 = 600;
/// The identity matrix of `mvhd` and `tkhd`, 16.16 and 2.30.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// Everything before the first sample.
pub(super) fn head(track: &Track<'_>) -> Vec<u8> {
    let file_type = full(b"ftyp", &[b"isom", &[0, 0, 2, 0], b"isomiso2avc1mp41"]);
    // The offset stands in moov itself, and moov's length does not depend on it.
    let offset = file_type.len() + movie(track, 0).len() + 8;
    let media_size = 8 + track.frames * track.sample_size;
    let mut head = file_type;
    head.extend(movie(track, offset as u32));
    head.extend_from_slice(&media_size.to_be_bytes());
    head.extend_from_slice(b"mdat");
    head
}

fn movie(track: &Track<'_>, offset: u32) -> Vec<u8> {
    let duration = track.frames * TIMESCALE / track.frames_per_second;
    let mut header = words(&[0, 0, 0, TIMESCALE, duration, 0x1_0000, 0x0100_0000, 0, 0]);
    header.extend(words(&MATRIX));
    header.extend(words(&[0, 0, 0, 0, 0, 0, 2])); // pre_defined, next_track_ID
    let mut track_header = words(&[3, 0, 0, 1, 0, duration, 0, 0, 0, 0]); // enabled, in movie; track 1
    track_header.extend(words(&MATRIX));
    track_header.extend(words(&[
        u32::from(track.width) << 16,
        u32::from(track.height) << 16,
    ]));
    let media_header = words(&[0, 0, 0, TIMESCALE, duration, 0x55c4_0000]); // language: und
    let mut handler = words(&[0, 0]);
    handler.extend_from_slice(b"vide");
    handler.extend(words(&[0, 0, 0]));
    handler.extend_from_slice(b"video\0");
    let references = full(b"dref", &[&words(&[0, 1]), &full(b"url ", &[&words(&[1])])]);
    let information = full(
        b"minf",
        &[
            &full(b"vmhd", &[&words(&[1, 0, 0])]),
            &full(b"dinf", &[&references]),
            &sample_table(track, offset),
        ],
    );
    let media = full(
        b"mdia",
        &[
            &full(b"mdhd", &[&media_header]),
            &full(b"hdlr", &[&handler]),
            &information,
        ],
    );
    let track = full(b"trak", &[&full(b"tkhd", &[&track_header]), &media]);
    full(b"moov", &[&full(b"mvhd", &[&header]), &track])
}

/// One chunk per second. Without `stss` every sample is one to begin at.
fn sample_table(track: &Track<'_>, offset: u32) -> Vec<u8> {
    let per_chunk = track.frames_per_second;
    let chunks = track.frames / per_chunk;
    let mut offsets = words(&[0, chunks]);
    offsets.extend(
        (0..chunks).flat_map(|n| (offset + n * per_chunk * track.sample_size).to_be_bytes()),
    );
    full(
        b"stbl",
        &[
            &full(b"stsd", &[&words(&[0, 1]), &sample_entry(track)]),
            &full(
                b"stts",
                &[&words(&[
                    0,
                    1,
                    track.frames,
                    TIMESCALE / track.frames_per_second,
                ])],
            ),
            &full(b"stsc", &[&words(&[0, 1, 1, per_chunk, 1])]),
            &full(b"stsz", &[&words(&[0, track.sample_size, track.frames])]),
            &full(b"stco", &[&offsets]),
        ],
    )
}

fn sample_entry(track: &Track<'_>) -> Vec<u8> {
    let (sequence, picture) = (track.sequence_parameters, track.picture_parameters);
    // Version, profile, compatibility and level as in the set; NAL lengths of 4 bytes; one set of each.
    let mut decoder = vec![1, sequence[1], sequence[2], sequence[3], 0xff, 0xe1];
    decoder.extend_from_slice(&(sequence.len() as u16).to_be_bytes());
    decoder.extend_from_slice(sequence);
    decoder.push(1);
    decoder.extend_from_slice(&(picture.len() as u16).to_be_bytes());
    decoder.extend_from_slice(picture);

    let mut entry = words(&[0, 1, 0, 0, 0, 0]); // reserved, data_reference_index, pre_defined
    entry.extend_from_slice(&track.width.to_be_bytes());
    entry.extend_from_slice(&track.height.to_be_bytes());
    entry.extend(words(&[0x48_0000, 0x48_0000, 0])); // 72 dpi
    entry.extend_from_slice(&1_u16.to_be_bytes()); // frame_count
    entry.extend_from_slice(&[0; 32]); // compressorname
    entry.extend_from_slice(&[0, 24, 0xff, 0xff]); // depth, pre_defined
    // Limited-range BT.601, as the frames are converted.
    let colour = full(b"colr", &[b"nclx", &[0, 6, 0, 6, 0, 6, 0]]);
    full(b"avc1", &[&entry, &full(b"avcC", &[&decoder]), &colour])
}

fn full(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let size = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&(size as u32).to_be_bytes());
    out.extend_from_slice(kind);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}
