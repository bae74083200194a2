"""Tables and queries; SQLAlchemy stays inside."""
