FROM python:3.12-slim
WORKDIR /app
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY rewriter rewriter
COPY rules rules
COPY api api
COPY tpc tpc
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && useradd --create-home rewriter
USER rewriter
EXPOSE 8000
CMD ["rewriter", "serve", "--host", "0.0.0.0", "--port", "8000"]
