"""What authors of handlers touch: handlers, resources, middleware, context, options."""
