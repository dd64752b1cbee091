package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"
)

// listen opens where the pages are served.
func (f *deskFlags) listen(ctx context.Context) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", f.web)
	if errors.Is(err, syscall.EADDRINUSE) && f.beside && f.web == webDefault {
		// Another weir is here; where nobody asked for a port, any will do.
		l, err = c.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w: name another, or port 0 for one that the system chooses", err)
	}
	if err != nil {
		return nil, fmt.Errorf("--web: %w", err)
	}
	return l, nil
}

// scheme is what browsers speak with the desk itself.
func (f *deskFlags) scheme() string {
	if f.certFile != "" {
		return "https"
	}
	return "http"
}

// deskStop is how long requests in flight may take when the desk stops.
const deskStop = 5 * time.Second

// serve answers browsers until the context ends.
func (f *deskFlags) serve(ctx context.Context, l net.Listener, server *http.Server, c *certificate) error {
	server.BaseContext = func(net.Listener) context.Context { return ctx } // streams end with it
	ended := make(chan error, 1)
	go func() { // ends with Shutdown
		if c != nil {
			server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
			ended <- server.ServeTLS(l, "", "")
		} else {
			ended <- server.Serve(l)
		}
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the desk: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), deskStop)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return errors.Join(server.Close(), fmt.Errorf("stop the desk: %w", err))
	}
	return nil
}
