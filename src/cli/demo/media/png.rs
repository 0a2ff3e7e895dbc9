//! PNG with stored (uncompressed) deflate blocks: W3C PNG third edition, RFC 1950, RFC 1951 §3.2.4. Pure.

use super::canvas::Canvas;

const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
/// The longest stored block: its length is 16 bits.
const STORED_BLOCK: usize = 0xffff;

/// A whole PNG file, 8 bits per channel, no alpha.
pub(super) fn encode(canvas: &Canvas) -> Vec<u8> {
    let mut scanlines = Vec::with_capacity((canvas.width * 3 + 1) * canvas.height);
    for row in canvas.rows() {
        scanlines.push(0); // filter type: none
        scanlines.extend_from_slice(row.as_flattened());
    }
    let mut header = Vec::with_capacity(13);
    header.extend_from_slice(&(canvas.width as u32).to_be_bytes());
    header.extend_from_slice(&(canvas.height as u32).to_be_bytes());
    header.extend_from_slice(&[8, 2, 0, 0, 0]); // depth, RGB, deflate, filters, not interlaced

    let mut file = SIGNATURE.to_vec();
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &zlib(&scanlines));
    chunk(&mut file, b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let checked_from = file.len();
    file.extend_from_slice(kind);
    file.extend_from_slice(data);
    let checksum = crc32(&file[checked_from..]);
    file.extend_from_slice(&checksum.to_be_bytes());
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let blocks = data.len().div_ceil(STORED_BLOCK);
    for (i, block) in data.chunks(STORED_BLOCK).enumerate() {
        let length = block.len() as u16;
        out.push(u8::from(i + 1 == blocks));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&adler32(data).to_be_bytes());
    out
}

fn adler32(data: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    // 5552 is the most bytes that cannot overflow 32 bits before the modulus.
    for block in data.chunks(5552) {
        for byte in block {
            a += u32::from(*byte);
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    b << 16 | a
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                0xedb8_8320 ^ value >> 1
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
};

fn crc32(data: &[u8]) -> u32 {
    let step =
        |crc: u32, byte: &u8| CRC_TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8;
    !data.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksums_are_the_standards() {
        assert_eq!(crc32(b"IEND"), 0xae42_6082);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_picture_of_two_rows_is_the_file_it_must_be() {
        let file = encode(&Canvas::new(3, 2, 3.0));
        assert_eq!(&file[..8], &SIGNATURE);
        assert_eq!(&file[16..24], &[0, 0, 0, 3, 0, 0, 0, 2]);
        assert_eq!(file.len(), 8 + 25 + (12 + 2 + 5 + 20 + 4) + 12);
    }
}
