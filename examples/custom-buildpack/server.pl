# A web server of the core of perl, which the base layer has.
use strict;
use warnings;
use Socket;

my $job = $ENV{SLIPWAY_JOB} || "unknown";
$SIG{CHLD} = "IGNORE";
socket(my $listener, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
setsockopt($listener, SOL_SOCKET, SO_REUSEADDR, 1);
bind($listener, sockaddr_in($ENV{PORT} || 3000, INADDR_ANY)) or die "bind: $!";
listen($listener, 64) or die "listen: $!";

while (1) {
    accept(my $client, $listener) or next;
    my $child = fork();
    if (!defined $child || $child) { close $client; next; }
    my $line = <$client> || "";
    while (my $header = <$client>) { last if $header =~ /^\r?\n$/; }
    my ($path) = $line =~ m{^GET /([a-z0-9-]*)};
    my $name = defined $path && $path ne "" ? $path : "index";
    my ($status, $body) = ("404 Not Found", "no such page\n");
    if (open(my $page, "<", "$ENV{SITE}/$name.html")) {
        local $/;
        ($status, $body) = ("200 OK", <$page> . "<p>job $job</p>\n");
    }
    printf $client "HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
        $status, length $body, $body;
    exit 0;
}
