//! Ports that are someone's before anything listens there: tests run side by side, and open connections by the thousand.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

/// A port of this address that nobody else gets, and at which nothing listens until [`listen`] is called.
pub fn reserved(address: IpAddr) -> TcpListener {
    reserve(SocketAddr::new(address, 0)).unwrap()
}

/// The same port of both loopback addresses.
pub fn reserved_pair() -> (TcpListener, TcpListener) {
    loop {
        let four = reserved(Ipv4Addr::LOCALHOST.into());
        let port = four.local_addr().unwrap().port();
        if let Ok(six) = reserve((Ipv6Addr::LOCALHOST, port).into()) {
            return (four, six);
        }
    }
}

fn reserve(address: SocketAddr) -> rustix::io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    // Not for the processes that other tests start meanwhile.
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    net::bind(&socket, &address)?;
    Ok(TcpListener::from(socket))
}

/// From now on connections to it are taken.
pub fn listen(reserved: &TcpListener) {
    net::listen(reserved, 16).unwrap();
}

/// For a server that cannot be asked to take any port: one at which nobody listens, below those that the kernel gives to
/// connections (ip(7), `ip_local_port_range`), so that none takes it before the server does.
pub fn free() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let low: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    loop {
        let port = fastrand::u16(low - 4000..low);
        if reserve((Ipv4Addr::LOCALHOST, port).into()).is_ok() {
            return port;
        }
    }
}
