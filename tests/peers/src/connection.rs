//! A connection with one request at a time, which costs the client less than the server.

use std::{
    io::{self, ErrorKind},
    net::Ipv4Addr,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The first pair of `Set-Cookie`.
    pub(crate) cookie: Option<String>,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4096),
        })
    }

    /// Sends the request, and does not wait for a response.
    pub(crate) async fn send_only(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await
    }

    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<Response> {
        self.send_only(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Some(response) = read(&self.buffer)? {
                return Ok(response);
            }
        }
    }
}

/// The response, if it is complete.
fn read(buffer: &[u8]) -> io::Result<Option<Response>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(buffer).map_err(io::Error::other)?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let field = |name: &str| {
        let mut fields = head.headers.iter();
        let found = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(found.value).ok()
    };
    let body = &buffer[length..];
    let body = if field("Transfer-Encoding").is_some() {
        match whole(body)? {
            Some(body) => body,
            None => return Ok(None),
        }
    } else {
        let length = field("Content-Length").and_then(|length| length.parse().ok());
        match body.get(..length.unwrap_or(0)) {
            Some(body) => body.to_vec(),
            None => return Ok(None),
        }
    };
    let cookie = field("Set-Cookie").and_then(|cookie| cookie.split(';').next());
    Ok(Some(Response {
        status: head.code.unwrap_or(0),
        body,
        cookie: cookie.map(str::to_owned),
    }))
}

/// The body of these chunks, if they are complete.
fn whole(mut chunks: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let size = httparse::parse_chunk_size(chunks).map_err(|_| ErrorKind::InvalidData)?;
        let httparse::Status::Complete((start, size)) = size else {
            return Ok(None);
        };
        let end = start + usize::try_from(size).map_err(|_| ErrorKind::InvalidData)?;
        if chunks.len() < end + 2 {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(&chunks[start..end]);
        chunks = &chunks[end + 2..];
    }
}
