//! The parts of a multipart form, without its boundary: a client that retries an upload makes a new boundary.

/// A form's parts, each its header fields and then its content, as they were sent. Returns `None` if the body is not
/// strictly a form of RFC 7578, because another parser might read it differently.
pub(crate) fn form_parts<'a>(content_type: &[u8], body: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let boundary = boundary(content_type)?;
    let delimiter = [b"\r\n--".as_slice(), boundary].concat();
    let first = &delimiter[2..];
    let mut parts = Vec::new();
    let mut rest = body.strip_prefix(first)?;
    while rest != b"--" && rest != b"--\r\n" {
        let part = rest.strip_prefix(b"\r\n")?;
        let end = find(part, b"\r\n\r\n")?;
        let (fields, content) = (&part[..end], &part[end + 4..]);
        if find(fields, first).is_some() || !are_fields_of_a_form(fields) {
            return None;
        }
        let end = find(content, &delimiter)?;
        parts.extend([fields, &content[..end]]);
        rest = &content[end + delimiter.len()..];
    }
    (!parts.is_empty()).then_some(parts)
}

/// The only boundary of a media type whose parameters are all plain.
fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    const MAX_BOUNDARY: usize = 70;
    let mut parameters = content_type.split(|&byte| byte == b';');
    let essence = parameters.next()?.trim_ascii();
    if !essence.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let mut boundary = None;
    for parameter in parameters {
        let equals = parameter.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (
            parameter[..equals].trim_ascii_start(),
            &parameter[equals + 1..],
        );
        let value = match value {
            [b'"', quoted @ .., b'"'] if quoted.iter().all(|&byte| is_boundary(byte)) => quoted,
            token if token.iter().all(|&byte| is_token(byte)) => token,
            _ => return None,
        };
        let is_name = name == b"boundary";
        if value.is_empty()
            || !name.iter().all(|&byte| is_token(byte))
            || is_name && boundary.is_some()
            || !is_name && name.eq_ignore_ascii_case(b"boundary")
        {
            return None;
        }
        if is_name {
            boundary = Some(value);
        }
    }
    boundary.filter(|boundary| boundary.len() <= MAX_BOUNDARY)
}

/// Whether this is an unfolded block of header fields that declares the part to belong to a form.
fn are_fields_of_a_form(fields: &[u8]) -> bool {
    /// Parsers accept no more.
    const MAX_FIELDS: usize = 32;
    let mut lines = fields.split(|&byte| byte == b'\n').peekable();
    let (mut count, mut is_form) = (0, false);
    while let Some(line) = lines.next() {
        // The last line has no line break of its own.
        let line = match lines.peek() {
            Some(_) => line.strip_suffix(b"\r"),
            None => Some(line),
        };
        let Some((name, value)) = line.and_then(field) else {
            return false;
        };
        if name.eq_ignore_ascii_case(b"content-disposition") {
            let kind = value.split(|&byte| byte == b';').next();
            is_form = kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"form-data"));
        }
        count += 1;
    }
    is_form && count <= MAX_FIELDS
}

/// A field's name and value.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_name = !name.is_empty() && name.iter().all(|&byte| is_token(byte));
    let is_plain = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    (is_name && value.iter().all(is_plain)).then_some((name, value))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let (&first, _) = wanted.split_first()?;
    let mut from = 0;
    loop {
        from += bytes[from..].iter().position(|&byte| byte == first)?;
        if bytes[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 2046 section 5.1.1, except for the space, which could be taken for surrounding white space.
fn is_boundary(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte)
}
