// Beast's HTTP parser, compiled once, without the rest of Beast and without Asio's sockets.
#include <boost/beast/core/detail/config.hpp>

#define BOOST_BEAST_SOURCE

#include <boost/assert.hpp>
#include <boost/beast/core/impl/string.ipp>
#include <boost/beast/http/detail/basic_parser.ipp>
#include <boost/beast/http/detail/rfc7230.ipp>
#include <boost/beast/http/impl/basic_parser.ipp>
#include <boost/beast/http/impl/error.ipp>
#include <boost/beast/http/impl/field.ipp>
#include <boost/beast/http/impl/rfc7230.ipp>
#include <boost/beast/http/impl/verb.ipp>
#include <stdexcept>

namespace boost {

// A failed assertion inside the parser is one bad request (codec.cpp answers 400), not the daemon's end.
// Used by the files that are compiled with BOOST_ENABLE_ASSERT_HANDLER: this one and codec.cpp.
void assertion_failed(char const* expression, char const*, char const*, long) {
    throw std::logic_error(expression);
}

}  // namespace boost
